import { Button } from '@mantine/core';
import { useState } from 'react';
import { api, segment } from '../../api/client';
import { useAction } from '../../api/hooks';
import { bytes, confirm, PageHeader, SearchTable, TimeText, type Column } from '../../components';
import { useT } from '../../i18n';
import { TextFilter, useFilter } from '../clients/filters';
import { ClientLink, Name } from '../clients/Name';
import type { RetainedRow } from '../clients/types';
import { visible } from '../clients/text';
import { isTopicFilter } from '../subscriptions/topic';
import { MessageDialog } from './MessageDialog';
import { PublishDialog } from './PublishDialog';

/** Retained messages: found, looked at, published, deleted. */
export default function Retained() {
  const t = useT();
  const [filter, setFilter] = useFilter('filter');
  const [shown, setShown] = useState<string | null>(null);
  const [publishing, setPublishing] = useState(false);
  const remove = useAction({
    run: (topic: string) => api.del(`retained/${segment(topic)}`),
    done: (_, topic) => t('retained.deleted', { topic: visible(topic) }),
    changes: ['search', 'retained', 'overview'],
  });
  const ask = async (topic: string): Promise<void> => {
    const text = t('retained.delete-text', { topic: visible(topic) });
    if (!(await confirm({ title: t('retained.delete-title'), text, action: t('common.delete') }))) return;
    setShown(null);
    remove.mutate(topic);
  };
  const wrong = filter !== '' && !isTopicFilter(filter);

  const columns: Column<RetainedRow>[] = [
    { key: 'topic', header: t('topics.topic'), cell: (m) => <Name text={m.topic} />, sort: 'topic', mono: true },
    { key: 'qos', header: t('subs.qos'), cell: (m) => m.qos, align: 'right' },
    { key: 'size', header: t('retained.size'), cell: (m) => bytes(m.payload_size), align: 'right' },
    { key: 'published_at', header: t('retained.published-at'), cell: (m) => <TimeText value={m.published_at} /> },
    { key: 'from', header: t('retained.from'), cell: (m) => (m.from === null ? t('retained.broker') : <ClientLink id={m.from} />), mono: true },
    { key: 'expires_at', header: t('retained.expires'), cell: (m) => (m.expires_at === null ? t('common.never') : <TimeText value={m.expires_at} relative />) },
  ];

  return (
    <>
      <PageHeader title={t('menu.retained')} text={t('retained.intro')}>
        <Button onClick={() => setPublishing(true)}>{t('retained.publish')}</Button>
      </PageHeader>
      <SearchTable<RetainedRow>
        label={t('menu.retained')}
        path="search/retained"
        columns={columns}
        rowKey={(m) => m.topic}
        search={t('retained.search')}
        // What is half typed is no filter yet, and finds nothing that matters.
        query={{ filter: wrong ? undefined : filter }}
        empty={t('retained.none')}
        filters={<TextFilter label={t('retained.filter')} value={filter} set={setFilter} placeholder="a/+/#" error={wrong ? t('subs.filter-wrong') : null} width={220} />}
        actions={(m) => (
          <>
            <Button size="compact-xs" variant="default" aria-label={t('retained.show-name', { topic: visible(m.topic) })} onClick={() => setShown(m.topic)}>
              {t('retained.show')}
            </Button>
            <Button size="compact-xs" variant="light" color="red" aria-label={t('retained.delete-name', { topic: visible(m.topic) })} onClick={() => void ask(m.topic)}>
              {t('common.delete')}
            </Button>
          </>
        )}
      />
      <MessageDialog topic={shown} onClose={() => setShown(null)} onDelete={(topic) => void ask(topic)} />
      <PublishDialog opened={publishing} onClose={() => setPublishing(false)} />
    </>
  );
}
