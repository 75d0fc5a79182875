import { Badge, Button, Group, Modal, Tooltip } from '@mantine/core';
import { IconPlus } from '@tabler/icons-react';
import { useState } from 'react';
import { api, segment } from '../../api/client';
import { useAction, useApi } from '../../api/hooks';
import { useSession } from '../../api/session';
import { type Column, confirm, LocalTable, PageHeader } from '../../components';
import { useT } from '../../i18n';
import { PasswordForm as OwnPasswordForm } from '../login/PasswordForm';
import { AddForm, PasswordForm, RemarkForm, type User } from './forms';
import { ADMIN } from './rules';

type Open = { what: 'add' } | { what: 'remark' | 'password'; user: User };

export default function Users() {
  const t = useT();
  const me = useSession()?.username;
  const users = useApi<User[]>('users', { live: true });
  const [open, setOpen] = useState<Open | null>(null);
  const close = (): void => setOpen(null);
  const remove = useAction<User>({
    run: (user) => api.del(`users/${segment(user.username)}`),
    done: (_, user) => t('users.deleted', { name: user.username }),
    changes: ['users'],
  });
  const ask = async (user: User): Promise<void> => {
    const title = t('users.deleteTitle', { name: user.username });
    if (await confirm({ title, text: t('users.deleteText'), action: t('common.delete') })) remove.mutate(user);
  };

  const columns: Column<User>[] = [
    {
      key: 'username',
      header: t('users.username'),
      value: (user) => user.username,
      cell: (user) => (
        <Group gap={6} wrap="nowrap">
          {user.username}
          {user.username === me ? (
            <Badge size="xs" variant="outline">
              {t('users.you')}
            </Badge>
          ) : null}
        </Group>
      ),
    },
    { key: 'tags', header: t('users.remark'), value: (user) => user.tags, cell: (user) => user.tags, wrap: true },
  ];
  const title = !open
    ? ''
    : open.what === 'add'
      ? t('users.add')
      : open.what === 'remark'
        ? t('users.editName', { name: open.user.username })
        : t('users.changePasswordName', { name: open.user.username });

  return (
    <>
      <PageHeader title={t('menu.users')} text={t('users.intro')}>
        <Button leftSection={<IconPlus size={16} aria-hidden />} onClick={() => setOpen({ what: 'add' })}>
          {t('users.add')}
        </Button>
      </PageHeader>
      <LocalTable
        label={t('menu.users')}
        columns={columns}
        rows={users.data}
        rowKey={(user) => user.username}
        error={users.error}
        onRetry={() => void users.refetch()}
        sort="username"
        search={(users.data?.length ?? 0) > 8}
        empty={t('users.none')}
        actions={(user) => (
          <>
            <Button size="compact-xs" variant="default" aria-label={t('users.editName', { name: user.username })} onClick={() => setOpen({ what: 'remark', user })}>
              {t('users.edit')}
            </Button>
            <Button size="compact-xs" variant="default" aria-label={t('users.changePasswordName', { name: user.username })} onClick={() => setOpen({ what: 'password', user })}>
              {t('users.changeThePassword')}
            </Button>
            <Remove user={user} me={me} onClick={() => void ask(user)} busy={remove.isPending && remove.variables.username === user.username} />
          </>
        )}
      />
      <Modal opened={open !== null} onClose={close} title={title} size="sm" closeButtonProps={{ 'aria-label': t('common.close') }}>
        {open?.what === 'add' ? <AddForm taken={users.data?.map((user) => user.username) ?? []} onDone={close} /> : null}
        {open?.what === 'remark' ? <RemarkForm user={open.user} onDone={close} /> : null}
        {open?.what === 'password' && open.user.username !== me ? <PasswordForm user={open.user} onDone={close} /> : null}
        {open?.what === 'password' && open.user.username === me ? <OwnPasswordForm username={open.user.username} onDone={close} /> : null}
      </Modal>
    </>
  );
}

interface RemoveProps {
  user: User;
  me: string | undefined;
  busy: boolean;
  onClick: () => void;
}

function Remove({ user, me, busy, onClick }: RemoveProps) {
  const t = useT();
  const why = user.username === ADMIN ? t('users.adminStays') : user.username === me ? t('users.selfStays') : undefined;
  if (why) {
    // It can be reached, so that the reason can be read, but does nothing.
    return (
      <Tooltip label={why} multiline maw={240} events={{ hover: true, focus: true, touch: true }}>
        <Button size="compact-xs" variant="light" color="red" data-disabled aria-disabled aria-label={t('users.deleteName', { name: user.username })} onClick={(event) => event.preventDefault()}>
          {t('common.delete')}
        </Button>
      </Tooltip>
    );
  }
  return (
    <Button size="compact-xs" variant="light" color="red" loading={busy} aria-label={t('users.deleteName', { name: user.username })} onClick={onClick}>
      {t('common.delete')}
    </Button>
  );
}
