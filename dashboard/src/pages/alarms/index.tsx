import { Badge, Stack, Title } from '@mantine/core';
import { useApi } from '../../api/hooks';
import type { Alarm, Alarms, PastAlarm } from '../../api/types';
import { duration } from '../../components/format';
import { LocalTable } from '../../components/LocalTable';
import { Marked } from '../../components/Marked';
import { PageHeader } from '../../components/PageHeader';
import type { Column } from '../../components/table';
import { TimeText } from '../../components/TimeText';
import { useT, type PlainKey } from '../../i18n';

/** What is wrong with the broker now, and what was. */
export default function AlarmsPage() {
  const t = useT();
  const alarms = useApi<Alarms>('alarms', { live: true });
  const common: Column<Alarm>[] = [
    { key: 'severity', header: t('alarms.severity'), cell: (row) => <Severity severity={row.severity} />, value: (row) => row.severity },
    { key: 'title', header: t('alarms.title'), cell: (row) => row.title, value: (row) => row.title },
    { key: 'summary', header: t('alarms.summary'), cell: (row) => <Marked text={row.summary} />, value: (row) => row.summary, wrap: true },
    { key: 'since', header: t('alarms.occurred-at'), cell: (row) => <TimeText value={row.since} />, value: (row) => row.since },
  ];
  const active: Column<Alarm>[] = [...common, { key: 'for', header: t('alarms.for'), cell: (row) => <TimeText value={row.since} relative /> }];
  const past: Column<PastAlarm>[] = [
    ...common,
    { key: 'cleared', header: t('alarms.cleared-at'), cell: (row) => <TimeText value={row.cleared_at} />, value: (row) => row.cleared_at },
    { key: 'lasted', header: t('alarms.lasted'), cell: (row) => duration(row.cleared_at - row.since), value: (row) => row.cleared_at - row.since, align: 'right' },
  ];
  return (
    <>
      <PageHeader title={t('menu.alarms')} text={t('alarms.text')} />
      <Stack gap="lg">
        <section aria-labelledby="active">
          <Title order={2} size="h5" mb="xs" id="active">
            {t('alarms.active')}
          </Title>
          <LocalTable label={t('alarms.active')} columns={active} rows={alarms.data?.active} rowKey={(row) => row.id} sort="-since" empty={t('alarms.none')} error={alarms.error} onRetry={() => void alarms.refetch()} />
        </section>
        <section aria-labelledby="past">
          <Title order={2} size="h5" mb="xs" id="past">
            {t('alarms.history')}
          </Title>
          <LocalTable label={t('alarms.history')} columns={past} rows={alarms.data?.history} rowKey={(row) => `${row.id} ${row.since} ${row.cleared_at}`} sort="-cleared" empty={t('alarms.no-history')} error={alarms.error} search />
        </section>
      </Stack>
    </>
  );
}

function Severity({ severity }: { severity: string }) {
  const t = useT();
  const known: Record<string, [PlainKey, string]> = {
    warning: ['alarms.warning', 'orange'],
    error: ['alarms.error', 'red'],
    critical: ['alarms.critical', 'red'],
  };
  const [key, color] = known[severity] ?? [undefined, 'gray'];
  return (
    <Badge color={color} variant={severity === 'critical' ? 'filled' : 'light'} size="sm">
      {key ? t(key) : severity}
    </Badge>
  );
}
