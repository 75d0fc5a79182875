import { Button } from '@mantine/core';
import { PageHeader, SearchTable, type Column } from '../../components';
import { useT } from '../../i18n';
import { ChoiceFilter, TextFilter, useFilter } from '../clients/filters';
import { ClientLink, Name } from '../clients/Name';
import { visible } from '../clients/text';
import type { SubscriptionRow } from '../clients/types';
import { Share } from './Share';
import { fullFilter } from './topic';
import { useUnsubscribe } from './unsubscribe';

/** Who has subscribed to what. */
export default function Subscriptions() {
  const t = useT();
  const unsubscribe = useUnsubscribe();
  const [topic, setTopic] = useFilter('topic');
  const [qos, setQos] = useFilter('qos');
  const [share, setShare] = useFilter('share');

  const columns: Column<SubscriptionRow>[] = [
    { key: 'client_id', header: t('clients.client-id'), cell: (s) => <ClientLink id={s.client_id} />, sort: 'client_id', mono: true },
    { key: 'topic', header: t('topics.topic'), cell: (s) => <Name text={s.topic} />, sort: 'topic', mono: true },
    { key: 'qos', header: t('subs.qos'), cell: (s) => s.qos, align: 'right' },
    { key: 'share', header: t('subs.share'), cell: (s) => <Share row={s} /> },
  ];

  return (
    <>
      <PageHeader title={t('menu.subscriptions')} text={t('subs.intro')} />
      <SearchTable<SubscriptionRow>
        label={t('menu.subscriptions')}
        path="search/subscriptions"
        columns={columns}
        rowKey={(s) => JSON.stringify([s.client_id, fullFilter(s)])}
        search={t('clients.search')}
        query={{ topic, qos, share }}
        empty={t('subs.none')}
        filters={
          <>
            <TextFilter label={t('topics.topic')} value={topic} set={setTopic} placeholder={t('subs.topic-part')} />
            <ChoiceFilter label={t('subs.qos')} value={qos} set={setQos} choices={['0', '1', '2'].map((n) => ({ value: n, label: n }))} width={80} />
            <TextFilter label={t('subs.share')} value={share} set={setShare} placeholder={t('clients.exact')} />
          </>
        }
        actions={(s) => (
          <Button
            size="compact-xs"
            variant="light"
            color="red"
            aria-label={t('subs.remove-name', { name: visible(s.client_id), topic: visible(fullFilter(s)) })}
            onClick={() => void unsubscribe.ask(s)}
          >
            {t('subs.remove')}
          </Button>
        )}
      />
    </>
  );
}
