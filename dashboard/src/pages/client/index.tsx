import { Badge, Button, Loader, Paper, SimpleGrid, Text, Title } from '@mantine/core';
import { useState, type ReactNode } from 'react';
import { api, segment } from '../../api/client';
import { useAction } from '../../api/hooks';
import type { PageProps } from '../../app/pages';
import { BackLink, bytes, count, duration, ErrorNote, PageHeader, TimeText } from '../../components';
import { useT } from '../../i18n';
import { BanDialog, type BanTarget } from '../bans/BanDialog';
import { useDisconnect, useDiscard } from '../clients/actions';
import { Name, Username } from '../clients/Name';
import { protocolOf } from '../clients/text';
import type { ClientDetail, OldSession } from '../clients/types';
import { Card, Facts } from './Facts';
import { Queue } from './Queue';
import { Subscriptions } from './Subscriptions';
import { Trace } from './Trace';
import { Traffic } from './Traffic';
import { useClient } from './useClient';

/** One client: its connection while there is one, its session, and what can be done about them. */
export default function Client({ params }: PageProps) {
  const t = useT();
  const id = params.id ?? '';
  const found = useClient(id);
  const disconnect = useDisconnect();
  const discard = useDiscard();
  const [banned, setBanned] = useState<BanTarget | null>(null);
  const cleanCache = useAction({
    // All that is kept about the client is forgotten, whatever topic one names.
    run: () => api.put(`clients/${segment(id)}/clean_acl_cache`, { topic: '' }),
    done: t('client.acl-cleaned'),
    changes: [],
  });
  const data = found.data;
  const online = data?.state === 'online';
  const target: BanTarget = online ? data.detail.client : { client_id: id };

  return (
    <>
      <BackLink to="/clients" text={t('client.all')} />
      <PageHeader
        title={<Name text={id} />}
        text={
          data ? (
            <Badge component="span" variant="light" color={online ? 'teal' : 'gray'} role="status">
              {online ? t('sessions.online') : data.state === 'offline' ? t('client.offline') : t('client.gone')}
            </Badge>
          ) : null
        }
      >
        {online ? (
          <>
            <Button variant="light" color="red" loading={disconnect.busy} onClick={() => void disconnect.ask(id)}>
              {t('clients.disconnect')}
            </Button>
            <Button variant="default" loading={cleanCache.isPending} onClick={() => cleanCache.mutate()}>
              {t('client.clean-acl')}
            </Button>
          </>
        ) : null}
        {data && data.state !== 'gone' ? (
          <Button variant="default" loading={discard.busy} onClick={() => void discard.ask(id)}>
            {t('sessions.discard')}
          </Button>
        ) : null}
        <Button variant="default" onClick={() => setBanned(target)}>
          {t('bans.ban')}
        </Button>
      </PageHeader>

      {found.error ? <ErrorNote error={found.error} onRetry={() => void found.refetch()} mb="md" /> : null}
      {!data && !found.error ? <Loader size="sm" aria-label={t('common.loading')} /> : null}
      {data?.state === 'gone' ? (
        <Paper withBorder p="lg">
          <Title order={2} size="h5" mb="xs">
            {t('client.gone-title')}
          </Title>
          <Text size="sm">{t('client.gone-text')}</Text>
        </Paper>
      ) : null}
      {data && data.state !== 'gone' ? (
        <>
          <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} spacing="md">
            {data.state === 'online' ? <Connection detail={data.detail} /> : <Away session={data.session} />}
            <Session session={data.session} expiry={data.state === 'online' ? data.detail.expiry_interval : undefined} />
            {data.state === 'online' ? <Traffic detail={data.detail} at={found.dataUpdatedAt} /> : null}
          </SimpleGrid>
          <Section title={`${t('menu.subscriptions')} (${count(data.session.subscriptions)})`}>
            <Subscriptions id={id} rows={data.subscriptions} />
          </Section>
          <Section title={t('client.queue')}>
            <Queue id={id} />
          </Section>
          <Section title={t('client.trace')}>
            <Trace id={id} />
          </Section>
        </>
      ) : null}
      <BanDialog target={banned} onClose={() => setBanned(null)} />
    </>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <Title order={2} size="h5" mt="lg" mb="xs">
        {title}
      </Title>
      {children}
    </section>
  );
}

function Connection({ detail }: { detail: ClientDetail }) {
  const t = useT();
  const { client, listener, will, mountpoint } = detail;
  return (
    <Card title={t('client.connection')}>
      <Facts
        facts={[
          [t('clients.username'), <Username key="u" name={client.username} />],
          [t('client.address'), `${client.ipaddress.includes(':') ? `[${client.ipaddress}]` : client.ipaddress}:${client.port}`],
          [t('clients.listener'), listener.address ? `${listener.protocol} ${listener.address}` : listener.protocol],
          [t('clients.version'), protocolOf(client.proto_ver)],
          [t('clients.clean'), client.clean_sess ? t('common.yes') : t('common.no')],
          [t('client.keepalive'), client.keepalive === 0 ? t('client.keepalive-off') : t('client.keepalive-seconds', { n: client.keepalive })],
          [t('clients.connected-at'), <TimeText key="c" value={client.connected_at_unix} />],
          ...(mountpoint ? [[t('client.mountpoint'), <Name key="m" text={mountpoint} />] as [string, ReactNode]] : []),
          ...(detail.superuser ? [[t('client.superuser'), t('client.superuser-yes')] as [string, ReactNode]] : []),
          [t('client.pending'), bytes(detail.send_pending)],
          [
            t('client.will'),
            will ? (
              <span key="w">
                <Name text={will.topic} /> · QoS {will.qos}
                {will.retain ? ` · ${t('client.will-retained')}` : ''}
              </span>
            ) : (
              t('client.will-none')
            ),
          ],
        ]}
      />
    </Card>
  );
}

function Away({ session }: { session: OldSession }) {
  const t = useT();
  return (
    <Card title={t('client.connection')}>
      <Text size="sm">{t('client.away-text', { n: count(session.mqueue_len) })}</Text>
    </Card>
  );
}

function Session({ session, expiry }: { session: OldSession; expiry: number | null | undefined }) {
  const t = useT();
  const ends = expiry === undefined ? null : expiry === null ? t('client.expiry-never') : expiry === 0 ? t('client.expiry-at-once') : t('client.expiry-after', { span: duration(expiry) });
  return (
    <Card title={t('client.session')}>
      <Facts
        facts={[
          [t('sessions.created'), <TimeText key="t" value={session.created_at_unix ?? session.created_at} />],
          ...(ends === null ? [] : [[t('client.expiry'), ends] as [string, ReactNode]]),
          [t('menu.subscriptions'), count(session.subscriptions)],
          [t('sessions.inflight'), session.max_inflight === 0 ? count(session.inflight_len) : t('client.of-window', { n: count(session.inflight_len), max: count(session.max_inflight) })],
          [t('sessions.queue'), count(session.mqueue_len)],
          [t('sessions.dropped'), count(session.mqueue_dropped)],
          [t('sessions.awaiting-rel'), count(session.awaiting_rel_len)],
          [t('sessions.delivered'), count(session.deliver_msg)],
          [t('sessions.enqueued'), count(session.enqueue_msg)],
        ]}
      />
    </Card>
  );
}
