import { Button } from '@mantine/core';
import { useState } from 'react';
import type { Kind } from '../../api/events';
import { useApi } from '../../api/hooks';
import { PageHeader, SearchTable, TimeText, type Column } from '../../components';
import { useT } from '../../i18n';
import { BanDialog, type BanTarget } from '../bans/BanDialog';
import { useDisconnect } from './actions';
import { ChoiceFilter, Filters, TextFilter, useClearFilters, useFilter } from './filters';
import { ClientLink, Username } from './Name';
import { protocolOf, visible } from './text';
import type { ClientRow } from './types';

const FILTERS = ['username', 'ip', 'listener', 'proto_ver', 'clean_sess'];
const EVENTS: readonly Kind[] = ['clients'];

/** Everybody who is connected. */
export default function Clients() {
  const t = useT();
  const disconnect = useDisconnect();
  const [banned, setBanned] = useState<BanTarget | null>(null);
  const [username, setUsername] = useFilter('username');
  const [ip, setIp] = useFilter('ip');
  const [listener, setListener] = useFilter('listener');
  const [version, setVersion] = useFilter('proto_ver');
  const [clean, setClean] = useFilter('clean_sess');
  const clear = useClearFilters(FILTERS);
  const listeners = useListeners();

  const columns: Column<ClientRow>[] = [
    { key: 'client_id', header: t('clients.client-id'), cell: (c) => <ClientLink id={c.client_id} />, sort: 'client_id', mono: true },
    { key: 'username', header: t('clients.username'), cell: (c) => <Username name={c.username} />, sort: 'username' },
    { key: 'ipaddress', header: t('clients.ip'), cell: (c) => c.ipaddress, sort: 'ipaddress', mono: true },
    { key: 'port', header: t('clients.port'), cell: (c) => c.port, align: 'right' },
    { key: 'clean_sess', header: t('clients.clean'), cell: (c) => (c.clean_sess ? t('common.yes') : t('common.no')) },
    { key: 'proto_ver', header: t('clients.version'), cell: (c) => protocolOf(c.proto_ver), sort: 'proto_ver' },
    { key: 'keepalive', header: t('clients.keepalive'), cell: (c) => c.keepalive, sort: 'keepalive', align: 'right' },
    { key: 'connected_at', header: t('clients.connected-at'), cell: (c) => <TimeText value={c.connected_at_unix} />, sort: 'connected_at' },
    { key: 'listener', header: t('clients.listener'), cell: (c) => c.listener, mono: true },
  ];

  return (
    <>
      <PageHeader title={t('menu.clients')} text={t('clients.intro')} />
      <SearchTable<ClientRow>
        label={t('menu.clients')}
        path="search/clients"
        columns={columns}
        rowKey={(c) => c.client_id}
        search={t('clients.search')}
        query={{ username, ip: ip.trim(), listener, proto_ver: version, clean_sess: clean }}
        events={EVENTS}
        empty={t('clients.none')}
        filters={
          <Filters values={[username, ip, listener, version, clean]} clear={clear}>
            <TextFilter label={t('clients.username')} value={username} set={setUsername} placeholder={t('clients.exact')} width={130} />
            <TextFilter label={t('clients.ip')} value={ip} set={setIp} placeholder={t('clients.ip-begins')} width={130} />
            <ChoiceFilter label={t('clients.listener')} value={listener} set={setListener} choices={listeners.map((name) => ({ value: name, label: name }))} width={120} />
            <ChoiceFilter label={t('clients.version')} value={version} set={setVersion} choices={['3', '4', '5'].map((v) => ({ value: v, label: protocolOf(Number(v)) }))} width={120} />
            <ChoiceFilter
              label={t('clients.clean')}
              value={clean}
              set={setClean}
              choices={[
                { value: 'true', label: t('common.yes') },
                { value: 'false', label: t('common.no') },
              ]}
              width={85}
            />
          </Filters>
        }
        actions={(c) => (
          <>
            <Button size="compact-xs" variant="light" color="red" aria-label={t('clients.disconnect-name', { name: visible(c.client_id) })} onClick={() => void disconnect.ask(c.client_id)}>
              {t('clients.disconnect')}
            </Button>
            <Button size="compact-xs" variant="default" aria-label={t('bans.ban-name', { name: visible(c.client_id) })} onClick={() => setBanned(c)}>
              {t('bans.ban')}
            </Button>
          </>
        )}
      />
      <BanDialog target={banned} onClose={() => setBanned(null)} />
    </>
  );
}

/** Protocols of the listeners that clients come in by. */
function useListeners(): string[] {
  const listeners = useApi<{ protocol: string }[]>('listeners');
  const names = (listeners.data ?? []).map((listener) => listener.protocol);
  return [...new Set(names)].filter((name) => !/^(dashboard|api|http|https|management):/.test(name)).sort();
}
