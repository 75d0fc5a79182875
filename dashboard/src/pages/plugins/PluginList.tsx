import { Anchor, Badge, Button, Group, SegmentedControl } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { Link, useLocation } from 'wouter';
import { segment } from '../../api/client';
import { useEvents } from '../../api/events';
import { useApi } from '../../api/hooks';
import { type Column, LocalTable, PageHeader } from '../../components';
import { useLanguage, useT } from '../../i18n';
import { State, Switch } from './switch';
import { described } from './told';
import { OWN, type PluginRow } from './types';

type Shown = 'all' | 'running' | 'stopped';

export function PluginList() {
  const t = useT();
  const language = useLanguage();
  const client = useQueryClient();
  const [, go] = useLocation();
  const [shown, setShown] = useState<Shown>('all');
  const plugins = useApi<PluginRow[]>('plugins', { live: true });
  useEvents(['plugins'], () => void client.invalidateQueries({ queryKey: ['plugins'] }));

  const rows = plugins.data?.filter((plugin) => shown === 'all' || plugin.active === (shown === 'running'));
  const columns: Column<PluginRow>[] = [
    {
      key: 'name',
      header: t('plugins.name'),
      value: (plugin) => plugin.name,
      cell: (plugin) => (
        <Group gap={6} wrap="nowrap">
          <Anchor component={Link} href={`/plugins/${segment(plugin.name)}`} size="sm">
            {plugin.name}
          </Anchor>
          {plugin.name === OWN ? (
            <Badge size="xs" variant="outline">
              {t('plugins.self')}
            </Badge>
          ) : null}
        </Group>
      ),
    },
    { key: 'version', header: t('plugins.version'), value: (plugin) => plugin.version, cell: (plugin) => plugin.version },
    {
      key: 'description',
      header: t('plugins.description'),
      value: (plugin) => described(plugin.description, language),
      cell: (plugin) => described(plugin.description, language),
      wrap: true,
    },
    {
      key: 'active',
      header: t('plugins.status'),
      value: (plugin) => (plugin.active ? 1 : 0),
      cell: (plugin) => <State active={plugin.active} />,
    },
  ];
  return (
    <>
      <PageHeader title={t('menu.plugins')} text={t('plugins.intro')} />
      <LocalTable
        label={t('menu.plugins')}
        columns={columns}
        rows={rows}
        rowKey={(plugin) => plugin.name}
        error={plugins.error}
        onRetry={() => void plugins.refetch()}
        search={t('plugins.search')}
        empty={t('plugins.none')}
        filters={
          <SegmentedControl
            size="xs"
            aria-label={t('plugins.filter')}
            value={shown}
            onChange={(value) => setShown(value as Shown)}
            data={[
              { value: 'all', label: t('common.all') },
              { value: 'running', label: t('plugins.running') },
              { value: 'stopped', label: t('plugins.stopped') },
            ]}
          />
        }
        actions={(plugin) => (
          <>
            <Switch plugin={plugin} />
            <Button
              size="compact-xs"
              variant="default"
              aria-label={t('plugins.configureName', { name: plugin.name })}
              onClick={() => go(`/plugins/${segment(plugin.name)}`)}
            >
              {t('plugins.configure')}
            </Button>
          </>
        )}
      />
    </>
  );
}
