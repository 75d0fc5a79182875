import { Anchor, Text } from '@mantine/core';
import { Link } from 'wouter';
import { segment } from '../../api/client';
import { useT } from '../../i18n';
import classes from './Name.module.css';
import { usernameOf, visible } from './text';

/** A text that strangers chose: as it is, with what cannot be seen written out, and without a say on what stands beside it. */
export function Name({ text }: { text: string }) {
  const t = useT();
  if (text === '') return <Text span inherit c="dimmed">{t('clients.empty-text')}</Text>;
  return <bdi title={text.length > 40 ? visible(text) : undefined}>{visible(text)}</bdi>;
}

/** A user name; a dash where there is none. */
export function Username({ name }: { name: string | null | undefined }) {
  const shown = usernameOf(name);
  return shown === null ? <Text span inherit c="dimmed">–</Text> : <Name text={shown} />;
}

export const clientPage = (id: string): string => `/clients/${segment(id)}`;

/** A client id that leads to the client's page. */
export function ClientLink({ id }: { id: string }) {
  return (
    <Anchor component={Link} href={clientPage(id)} inherit className={classes.link}>
      <Name text={id} />
    </Anchor>
  );
}
