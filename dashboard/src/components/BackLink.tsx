import { Anchor } from '@mantine/core';
import { IconArrowLeft } from '@tabler/icons-react';
import { Link } from 'wouter';

/** Above the title of a page that was reached from a list: back to the list. */
export function BackLink({ to, text }: { to: string; text: string }) {
  return (
    <Anchor component={Link} href={to} size="sm" display="inline-flex" mb={6} style={{ alignItems: 'center', gap: 4 }}>
      <IconArrowLeft size={14} aria-hidden /> {text}
    </Anchor>
  );
}
