import { Badge, Button, Text } from '@mantine/core';
import { useState } from 'react';
import { api, segment } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import { confirm, LocalTable, PageHeader, TimeText, type Column } from '../../components';
import { useT } from '../../i18n';
import { ClientLink, Name } from '../clients/Name';
import { visible } from '../clients/text';
import type { Ban } from '../clients/types';
import { BanDialog, KIND_TEXTS, type BanTarget } from './BanDialog';

/** Who may not connect. */
export default function Bans() {
  const t = useT();
  const bans = useApi<Ban[]>('bans', { live: true });
  const [target, setTarget] = useState<BanTarget | null>(null);
  const lift = useAction({
    run: (ban: Ban) => api.del(`bans/${ban.kind}/${segment(ban.value)}`),
    done: (_, ban) => t('bans.lifted', { name: visible(ban.value) }),
    changes: ['bans'],
  });
  const ask = async (ban: Ban): Promise<void> => {
    const text = t('bans.lift-text', { name: visible(ban.value) });
    if (await confirm({ title: t('bans.lift-title'), text, action: t('bans.lift'), danger: false })) lift.mutate(ban);
  };

  const columns: Column<Ban>[] = [
    {
      key: 'kind',
      header: t('bans.kind'),
      cell: (ban) => (
        <Badge variant="light" color="gray">
          {t(KIND_TEXTS[ban.kind])}
        </Badge>
      ),
      value: (ban) => t(KIND_TEXTS[ban.kind]),
    },
    { key: 'value', header: t('bans.value'), cell: (ban) => (ban.kind === 'client_id' ? <ClientLink id={ban.value} /> : <Name text={ban.value} />), value: (ban) => ban.value, mono: true },
    { key: 'reason', header: t('bans.reason'), cell: (ban) => (ban.reason ? <Name text={ban.reason} /> : <Text span inherit c="dimmed">–</Text>), value: (ban) => ban.reason, wrap: true },
    { key: 'until', header: t('bans.ends'), cell: (ban) => (ban.until === null ? t('bans.never') : <TimeText value={ban.until} relative />), value: (ban) => ban.until ?? Number.MAX_SAFE_INTEGER },
    { key: 'at', header: t('bans.since'), cell: (ban) => <TimeText value={ban.at} />, value: (ban) => ban.at },
    { key: 'by', header: t('bans.made-by'), cell: (ban) => <Name text={ban.by} />, value: (ban) => ban.by },
  ];

  return (
    <>
      <PageHeader title={t('menu.bans')} text={t('bans.intro')}>
        <Button onClick={() => setTarget({})}>{t('bans.add')}</Button>
      </PageHeader>
      <LocalTable
        label={t('menu.bans')}
        columns={columns}
        rows={bans.data}
        rowKey={(ban) => `${ban.kind}/${ban.value}`}
        search={t('bans.search')}
        sort="-at"
        error={bans.error}
        onRetry={() => void bans.refetch()}
        empty={t('bans.none')}
        actions={(ban) => (
          <Button size="compact-xs" variant="light" aria-label={t('bans.lift-name', { name: visible(ban.value) })} loading={lift.isPending && lift.variables === ban} onClick={() => void ask(ban)}>
            {t('bans.lift')}
          </Button>
        )}
      />
      <BanDialog target={target} onClose={() => setTarget(null)} />
    </>
  );
}
