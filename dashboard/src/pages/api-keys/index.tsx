import { Badge, Button, Group, Modal, Text, Tooltip } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import { api, segment } from '../../api/client';
import { brokerNow } from '../../api/clock';
import { useAction, useApi } from '../../api/hooks';
import { type Column, confirm, LocalTable, PageHeader, TimeText } from '../../components';
import { useT } from '../../i18n';
import { CreateForm, Secret } from './forms';
import { type ApiKey, type CreatedKey, isExpired, isScope } from './key';

export default function ApiKeys() {
  const t = useT();
  const keys = useApi<ApiKey[]>('api_keys', { live: true });
  const [creating, setCreating] = useState(false);
  const [created, setCreated] = useState<CreatedKey | null>(null);
  const revoke = useAction<ApiKey>({
    run: (key) => api.del(`api_keys/${segment(key.id)}`),
    done: (_, key) => t('keys.revoked', { name: key.name }),
    changes: ['api_keys'],
  });
  const ask = async (key: ApiKey): Promise<void> => {
    const title = t('keys.revokeTitle', { name: key.name });
    if (await confirm({ title, text: t('keys.revokeText'), action: t('keys.revoke') })) revoke.mutate(key);
  };

  const columns: Column<ApiKey>[] = [
    { key: 'name', header: t('keys.name'), value: (key) => key.name, cell: (key) => key.name },
    { key: 'id', header: t('keys.id'), value: (key) => key.id, cell: (key) => key.id, mono: true },
    {
      key: 'scopes',
      header: t('keys.scopes'),
      value: (key) => key.scopes.join(' '),
      cell: (key) => (
        <Group gap={4} wrap="nowrap">
          {key.scopes.map((scope) => (
            <ScopeBadge key={scope} scope={scope} />
          ))}
        </Group>
      ),
    },
    {
      key: 'expires',
      header: t('keys.expires'),
      value: (key) => key.expires_at,
      cell: (key) =>
        key.expires_at === null ? (
          t('common.never')
        ) : isExpired(key, brokerNow()) ? (
          <Badge color="red" variant="light">
            {t('keys.expired')}
          </Badge>
        ) : (
          <TimeText value={key.expires_at} relative />
        ),
    },
    {
      key: 'created',
      header: t('keys.created'),
      value: (key) => key.created_at,
      cell: (key) => (
        <>
          <TimeText value={key.created_at} relative />{' '}
          <Text span size="xs" c="dimmed">
            {t('keys.by', { by: key.created_by })}
          </Text>
        </>
      ),
    },
    {
      key: 'used',
      header: t('keys.used'),
      value: (key) => key.last_used,
      cell: (key) =>
        key.last_used === null ? (
          <Text span size="xs" c="dimmed">
            {t('keys.unused')}
          </Text>
        ) : (
          <TimeText value={key.last_used} relative />
        ),
    },
  ];
  return (
    <>
      <PageHeader title={t('menu.api-keys')} text={t('keys.intro')}>
        <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setCreating(true)}>
          {t('keys.create')}
        </Button>
      </PageHeader>
      <LocalTable
        label={t('menu.api-keys')}
        columns={columns}
        rows={keys.data}
        rowKey={(key) => key.id}
        error={keys.error}
        onRetry={() => void keys.refetch()}
        search={(keys.data?.length ?? 0) > 8}
        empty={t('keys.none')}
        actions={(key) => (
          <Button
            size="compact-xs"
            variant="light"
            color="red"
            aria-label={t('keys.revokeName', { name: key.name })}
            loading={revoke.isPending && revoke.variables.id === key.id}
            onClick={() => void ask(key)}
          >
            {t('keys.revoke')}
          </Button>
        )}
      />
      <Modal opened={creating} onClose={() => setCreating(false)} title={t('keys.createTitle')} closeButtonProps={{ 'aria-label': t('common.close') }}>
        {creating ? (
          <CreateForm
            onCancel={() => setCreating(false)}
            onDone={(key) => {
              setCreating(false);
              setCreated(key);
            }}
          />
        ) : null}
      </Modal>
      {/* Only the button closes it: what it shows cannot be had again. */}
      <Modal
        opened={created !== null}
        onClose={() => setCreated(null)}
        title={t('keys.secretTitle', { name: created?.name ?? '' })}
        withCloseButton={false}
        closeOnClickOutside={false}
        closeOnEscape={false}
      >
        {created ? <Secret created={created} onDone={() => setCreated(null)} /> : null}
      </Modal>
    </>
  );
}

function ScopeBadge({ scope }: { scope: string }) {
  const t = useT();
  if (!isScope(scope)) return <Badge variant="light">{scope}</Badge>;
  return (
    <Tooltip label={t(`keys.scope.${scope}Help`)} multiline maw={260}>
      <Badge variant="light" color={scope === 'admin' ? 'red' : undefined}>
        {t(`keys.scope.${scope}`)}
      </Badge>
    </Tooltip>
  );
}
