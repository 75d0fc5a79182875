import { Button, Group, Modal, NativeSelect, NumberInput, SegmentedControl, Stack, Text, TextInput } from '@mantine/core';
import { useEffect, useState, type FormEvent } from 'react';
import { api } from '../../api/client';
import { useAction } from '../../api/hooks';
import { useT, type PlainKey } from '../../i18n';
import { usernameOf, visible } from '../clients/text';
import type { Ban, NewBan } from '../clients/types';
import { BAN_KINDS, secondsOf, UNITS, wrongValue, type BanKind, type Unit } from './ban';

/** Whom the dialog begins with; all of them are absent for a ban out of nothing. */
export interface BanTarget {
  client_id?: string;
  username?: string;
  ipaddress?: string;
}

interface Props {
  /** Null: the dialog is closed. */
  target: BanTarget | null;
  onClose: () => void;
}

export const KIND_TEXTS: Record<BanKind, PlainKey> = { client_id: 'bans.client-id', username: 'bans.username', ip: 'bans.ip' };
const UNIT_TEXTS: Record<Unit, PlainKey> = { minutes: 'bans.minutes', hours: 'bans.hours', days: 'bans.days', forever: 'bans.forever' };

const valueOf = (target: BanTarget | null, kind: BanKind): string =>
  (kind === 'client_id' ? target?.client_id : kind === 'username' ? usernameOf(target?.username) : target?.ipaddress) ?? '';

/** Asks whom to keep out, why, and for how long. */
export function BanDialog({ target, onClose }: Props) {
  const t = useT();
  // What was asked stays while the window closes.
  const [shown, setShown] = useState(target);
  if (target !== null && target !== shown) setShown(target);
  return (
    <Modal opened={target !== null} onClose={onClose} title={t('bans.title')} closeButtonProps={{ 'aria-label': t('common.close') }}>
      {shown ? <BanForm target={shown} onClose={onClose} /> : null}
    </Modal>
  );
}

function BanForm({ target, onClose }: { target: BanTarget; onClose: () => void }) {
  const t = useT();
  const [kind, setKind] = useState<BanKind>('client_id');
  const [value, setValue] = useState(valueOf(target, 'client_id'));
  const [amount, setAmount] = useState<number | string>(1);
  const [unit, setUnit] = useState<Unit>('hours');
  const [reason, setReason] = useState('');
  const [tried, setTried] = useState(false);
  useEffect(() => {
    setValue(valueOf(target, kind));
    setTried(false);
  }, [kind, target]);

  const add = useAction({
    run: (body: NewBan) => api.post<Ban>('bans', body),
    done: (ban) => t('bans.added', { name: visible(ban.value) }),
    changes: ['bans', 'search', 'clients', 'sessions', 'overview'],
    onDone: onClose,
  });
  const wrong = wrongValue(kind, value);
  const seconds = secondsOf(amount, unit);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (wrong || seconds === undefined) return;
    // Blanks at the ends may well belong to an id; to an address they do not.
    add.mutate({ kind, value: kind === 'ip' ? value.trim() : value, reason: reason.trim() || undefined, seconds: seconds ?? undefined });
  };

  return (
    <form onSubmit={submit} noValidate>
      <Stack gap="sm">
        <div>
          <Text size="sm" fw={500} mb={4} id="ban-kind">
            {t('bans.by')}
          </Text>
          <SegmentedControl
            fullWidth
            value={kind}
            onChange={(next) => setKind(next as BanKind)}
            data={BAN_KINDS.map((name) => ({ value: name, label: t(KIND_TEXTS[name]) }))}
            aria-labelledby="ban-kind"
          />
        </div>
        <TextInput
          label={t(KIND_TEXTS[kind])}
          description={kind === 'ip' ? t('bans.ip-hint') : kind === 'username' ? t('bans.username-hint') : undefined}
          value={value}
          onChange={(event) => setValue(event.currentTarget.value)}
          error={tried && wrong ? t(wrong === 'empty' ? 'bans.value-empty' : 'bans.value-address') : null}
          autoComplete="off"
          spellCheck={false}
          data-autofocus
        />
        <Group align="flex-start" gap="sm" wrap="nowrap">
          {unit === 'forever' ? null : (
            <NumberInput
              label={t('bans.duration')}
              min={1}
              value={amount}
              onChange={setAmount}
              error={tried && seconds === undefined ? t('bans.duration-wrong') : null}
              style={{ flex: 1 }}
            />
          )}
          <NativeSelect
            label={unit === 'forever' ? t('bans.duration') : t('bans.unit')}
            value={unit}
            onChange={(event) => setUnit(event.currentTarget.value as Unit)}
            data={UNITS.map((name) => ({ value: name, label: t(UNIT_TEXTS[name]) }))}
            style={{ flex: 1 }}
          />
        </Group>
        <TextInput label={t('bans.reason')} placeholder={t('bans.reason-hint')} value={reason} maxLength={500} onChange={(event) => setReason(event.currentTarget.value)} />
        <Text size="xs" c="dimmed">
          {t('bans.effect')}
        </Text>
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {t('common.cancel')}
          </Button>
          <Button type="submit" color="red" loading={add.isPending}>
            {t('bans.ban')}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
