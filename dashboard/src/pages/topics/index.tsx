import { Anchor, Badge } from '@mantine/core';
import { Link } from 'wouter';
import { PageHeader, SearchTable, type Column } from '../../components';
import { useT } from '../../i18n';
import { Name } from '../clients/Name';
import { visible } from '../clients/text';
import type { RouteRow } from '../clients/types';
import { plainFilter } from '../subscriptions/topic';

/** Filters that somebody has subscribed to: the routes of the broker. */
export default function Topics() {
  const t = useT();
  const columns: Column<RouteRow>[] = [
    {
      key: 'topic',
      header: t('topics.topic'),
      cell: (route) => (
        <>
          <Name text={plainFilter(route.topic)} />
          {route.local ? (
            <Badge ml="xs" size="sm" variant="light" color="gray" title={t('subs.local-hint')}>
              {t('subs.local')}
            </Badge>
          ) : null}
        </>
      ),
      sort: 'topic',
      mono: true,
    },
    { key: 'node', header: t('topics.node'), cell: (route) => route.node, mono: true },
  ];
  return (
    <>
      <PageHeader title={t('menu.topics')} text={t('topics.intro')} />
      <SearchTable<RouteRow>
        label={t('menu.topics')}
        path="search/routes"
        columns={columns}
        rowKey={(route) => `${route.local ? 'l' : '-'}${route.topic}`}
        search={t('topics.search')}
        empty={t('topics.none')}
        actions={(route) => (
          <Anchor
            component={Link}
            size="sm"
            href={`/subscriptions?topic=${encodeURIComponent(plainFilter(route.topic))}`}
            aria-label={t('topics.subscriptions-name', { name: visible(plainFilter(route.topic)) })}
          >
            {t('menu.subscriptions')}
          </Anchor>
        )}
      />
    </>
  );
}
