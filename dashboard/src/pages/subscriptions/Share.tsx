import { Badge, Text } from '@mantine/core';
import { useT } from '../../i18n';
import { Name } from '../clients/Name';
import type { SubscriptionRow } from '../clients/types';

/** The group a subscription shares its messages with, or that it is for this node's messages alone. */
export function Share({ row }: { row: SubscriptionRow }) {
  const t = useT();
  if (row.share !== null) return <Name text={row.share} />;
  if (row.local) {
    return (
      <Badge size="sm" variant="light" color="gray" title={t('subs.local-hint')}>
        {t('subs.local')}
      </Badge>
    );
  }
  return <Text span inherit c="dimmed">–</Text>;
}
