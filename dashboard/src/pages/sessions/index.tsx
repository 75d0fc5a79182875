import { Badge, Button } from '@mantine/core';
import type { Kind } from '../../api/events';
import { count, PageHeader, SearchTable, TimeText, type Column } from '../../components';
import { useT } from '../../i18n';
import { useDiscard } from '../clients/actions';
import { ChoiceFilter, useFilter } from '../clients/filters';
import { ClientLink } from '../clients/Name';
import { visible } from '../clients/text';
import type { SessionRow } from '../clients/types';

const EVENTS: readonly Kind[] = ['sessions', 'clients'];

/** Sessions, of clients that are away too. */
export default function Sessions() {
  const t = useT();
  const discard = useDiscard();
  const [online, setOnline] = useFilter('online');
  const [clean, setClean] = useFilter('clean_sess');

  const columns: Column<SessionRow>[] = [
    { key: 'client_id', header: t('clients.client-id'), cell: (s) => <ClientLink id={s.client_id} />, sort: 'client_id', mono: true },
    {
      key: 'online',
      header: t('sessions.client'),
      cell: (s) => (
        <Badge variant="light" color={s.online ? 'teal' : 'gray'}>
          {s.online ? t('sessions.online') : t('sessions.offline')}
        </Badge>
      ),
    },
    { key: 'clean_sess', header: t('clients.clean'), cell: (s) => (s.clean_sess ? t('common.yes') : t('common.no')) },
    { key: 'subscriptions', header: t('sessions.subscriptions'), cell: (s) => count(s.subscriptions), sort: 'subscriptions', align: 'right' },
    { key: 'max_inflight', header: t('sessions.max-inflight'), cell: (s) => (s.max_inflight === 0 ? t('sessions.no-limit') : count(s.max_inflight)), align: 'right' },
    { key: 'inflight_len', header: t('sessions.inflight'), cell: (s) => count(s.inflight_len), sort: 'inflight_len', align: 'right' },
    { key: 'mqueue_len', header: t('sessions.queue'), cell: (s) => count(s.mqueue_len), sort: 'mqueue_len', align: 'right' },
    { key: 'mqueue_dropped', header: t('sessions.dropped'), cell: (s) => count(s.mqueue_dropped), sort: 'mqueue_dropped', align: 'right' },
    { key: 'awaiting_rel_len', header: t('sessions.awaiting-rel'), cell: (s) => count(s.awaiting_rel_len), align: 'right' },
    { key: 'deliver_msg', header: t('sessions.delivered'), cell: (s) => count(s.deliver_msg), sort: 'deliver_msg', align: 'right' },
    { key: 'enqueue_msg', header: t('sessions.enqueued'), cell: (s) => count(s.enqueue_msg), align: 'right' },
    { key: 'created_at', header: t('sessions.created'), cell: (s) => <TimeText value={s.created_at_unix} />, sort: 'created_at' },
  ];

  return (
    <>
      <PageHeader title={t('menu.sessions')} text={t('sessions.intro')} />
      <SearchTable<SessionRow>
        label={t('menu.sessions')}
        path="search/sessions"
        columns={columns}
        rowKey={(s) => s.client_id}
        search={t('clients.search')}
        query={{ online, clean_sess: clean }}
        events={EVENTS}
        empty={t('sessions.none')}
        filters={
          <>
            <ChoiceFilter
              label={t('sessions.client')}
              value={online}
              set={setOnline}
              choices={[
                { value: 'true', label: t('sessions.online') },
                { value: 'false', label: t('sessions.offline') },
              ]}
            />
            <ChoiceFilter
              label={t('clients.clean')}
              value={clean}
              set={setClean}
              choices={[
                { value: 'true', label: t('common.yes') },
                { value: 'false', label: t('common.no') },
              ]}
            />
          </>
        }
        actions={(s) => (
          <Button size="compact-xs" variant="light" color="red" aria-label={t('sessions.discard-name', { name: visible(s.client_id) })} onClick={() => void discard.ask(s.client_id)}>
            {t('sessions.discard-short')}
          </Button>
        )}
      />
    </>
  );
}
