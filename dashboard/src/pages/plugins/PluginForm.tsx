import { Accordion, ActionIcon, Alert, Badge, Button, Group, NativeSelect, Paper, PasswordInput, Switch, Text, TextInput, Title, Tooltip } from '@mantine/core';
import { IconCheck, IconPlus, IconTrash } from '@tabler/icons-react';
import { useId, useRef, useState, type FormEvent } from 'react';
import { api, segment } from '../../api/client';
import { words } from '../../api/errors';
import { useAction } from '../../api/hooks';
import { CopyButton, Marked } from '../../components';
import { SearchBox } from '../../components/TableParts';
import { useT } from '../../i18n';
import { changesOf, controlOf, faultsOf, type FaultWord, type FreeLine, freeFault, HIDDEN, isOn, type PluginKey, startOf } from './form';
import classes from './Plugin.module.css';
import { type Applied, OWN, type PluginConfig } from './types';

const NO_LINE: FreeLine = { key: '', value: '' };

/** The keys of a plugin as a form; only what is changed is sent. */
export function PluginForm({ name, config }: { name: string; config: PluginConfig }) {
  const t = useT();
  const { keys } = config;
  const [edits, setEdits] = useState<Record<string, string>>({});
  const [free, setFree] = useState<FreeLine[]>([NO_LINE]);
  const [wanted, setWanted] = useState('');
  const [tried, setTried] = useState(false);
  const [result, setResult] = useState<Applied | null>(null);
  const top = useRef<HTMLDivElement>(null);

  // What the broker holds now, below what was typed here: an answer that comes meanwhile takes nothing away.
  const form = { ...startOf(keys), ...edits };
  const changes = changesOf(keys, form, free);
  const count = Object.keys(changes).length;
  const faults = faultsOf(keys, form);
  const freeFaults = free.map((_, at) => freeFault(keys, free, at));
  const wrong = Object.keys(faults).length > 0 || freeFaults.some(Boolean);

  const save = useAction<Record<string, string>, Applied>({
    run: (changed) => api.put<Applied>(`plugins/${segment(name)}/config`, changed),
    changes: ['plugins', 'listeners', 'configs'],
    quiet: true,
    onDone: (applied, sent) => {
      setResult(applied);
      // What was typed while it was saved stays.
      setEdits((now) => Object.fromEntries(Object.entries(now).filter(([key, value]) => sent[key] !== value)));
      setFree((now) => {
        const left = now.filter((line) => sent[line.key.trim()] !== line.value.trim());
        return left.length > 0 ? left : [NO_LINE];
      });
      setTried(false);
      top.current?.focus();
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (wrong || count === 0) return;
    setResult(null);
    save.mutate(changes);
  };
  const change = (key: string, value: string): void => {
    setResult(null);
    setEdits((before) => ({ ...before, [key]: value }));
  };
  const discard = (): void => {
    setEdits({});
    setFree([NO_LINE]);
    setTried(false);
    save.reset();
  };
  const shown = keys.filter((key) => `${key.key} ${key.desc ?? ''}`.toLowerCase().includes(wanted.trim().toLowerCase()));

  return (
    <Paper withBorder p="md" component="section" aria-labelledby="plugin-config">
      <Group justify="space-between" mb="sm">
        <Title order={2} size="h5" id="plugin-config">
          {t('plugins.configure')}
        </Title>
        {keys.length > 8 ? <SearchBox label={t('plugins.find')} value={wanted} onChange={setWanted} /> : null}
      </Group>
      <div ref={top} tabIndex={-1}>
        {result ? <Result result={result} file={config.file} /> : null}
      </div>
      {keys.length === 0 ? (
        <Text size="sm" c="dimmed">
          {t('plugins.noKeys')}
        </Text>
      ) : null}
      <form onSubmit={submit} noValidate>
        {shown.map((key) => (
          <KeyRow
            key={key.key}
            about={key}
            value={form[key.key] ?? ''}
            changed={key.key in changes}
            fault={tried || key.key in edits ? faults[key.key] : undefined}
            onChange={(value) => change(key.key, value)}
          />
        ))}
        {keys.length > 0 && shown.length === 0 ? (
          <Text size="sm" c="dimmed">
            {t('plugins.noKeyFits')}
          </Text>
        ) : null}
        <FreeKeys
          lines={free}
          faults={tried ? freeFaults : []}
          onChange={(lines) => {
            setResult(null);
            setFree(lines);
          }}
        />
        <div className={classes.bar}>
          {save.error ? (
            <Alert color="red" variant="light" role="alert" mb="sm">
              {words(save.error)}
            </Alert>
          ) : null}
          {name === OWN && keys.some((key) => key.key in changes && !key.live) ? (
            <Alert color="yellow" variant="light" mb="sm">
              {t('listeners.ownRestart')}
            </Alert>
          ) : null}
          <Group justify="flex-end" gap="sm">
            <Text size="sm" c="dimmed" role="status">
              {count === 0 ? t('plugins.noChanges') : t('plugins.changes', { n: count })}
            </Text>
            <Button variant="default" disabled={count === 0} onClick={discard}>
              {t('plugins.discard')}
            </Button>
            <Button type="submit" disabled={count === 0} loading={save.isPending}>
              {t('common.save')}
            </Button>
          </Group>
        </div>
      </form>
    </Paper>
  );
}

interface RowProps {
  about: PluginKey;
  value: string;
  changed: boolean;
  fault: FaultWord | undefined;
  onChange: (value: string) => void;
}

function KeyRow({ about, value, changed, fault, onChange }: RowProps) {
  const t = useT();
  const id = useId();
  const control = controlOf(about);
  const error = fault ? t(`plugins.fault.${fault}`) : undefined;
  const described = `${id}-about`;
  const common = { id, 'aria-describedby': described, error };
  return (
    <div className={classes.key} data-changed={changed || undefined}>
      <div>
        <Group gap={6}>
          <label htmlFor={id} className={classes.name}>
            {about.key}
          </label>
          {about.required && !about.default ? (
            <Text span size="xs" c="red" aria-hidden>
              *
            </Text>
          ) : null}
          <Tooltip label={about.live ? t('plugins.liveHelp') : t('plugins.needsRestartHelp')} multiline maw={240}>
            <Badge size="xs" variant="light" color={about.live ? 'teal' : 'gray'}>
              {about.live ? t('plugins.live') : t('plugins.needsRestart')}
            </Badge>
          </Tooltip>
          {changed ? (
            <Badge size="xs" variant="filled">
              {t('plugins.changed')}
            </Badge>
          ) : null}
        </Group>
        <div className={classes.about} id={described}>
          {about.desc ? <div><Marked text={about.desc} /></div> : null}
          {about.default ? <div>{t('plugins.default', { value: about.default })}</div> : null}
        </div>
      </div>
      <div>
        {control.kind === 'switch' ? (
          <Switch
            {...common}
            checked={isOn(value)}
            onChange={(event) => onChange(event.currentTarget.checked ? control.on : control.off)}
            label={value}
          />
        ) : control.kind === 'select' ? (
          <NativeSelect
            {...common}
            value={value}
            data={value === '' || !control.choices.includes(value) ? [value, ...control.choices] : control.choices}
            onChange={(event) => onChange(event.currentTarget.value)}
          />
        ) : control.kind === 'secret' ? (
          <PasswordInput
            {...common}
            value={value}
            placeholder={about.value ? t('plugins.secretSet') : t('plugins.secretUnset')}
            autoComplete="new-password"
            onChange={(event) => onChange(event.currentTarget.value)}
          />
        ) : (
          <TextInput
            {...common}
            value={value}
            required={about.required}
            withAsterisk={false}
            inputMode={control.kind === 'number' ? 'numeric' : undefined}
            placeholder={about.default ?? undefined}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => onChange(event.currentTarget.value)}
          />
        )}
      </div>
    </div>
  );
}

interface FreeProps {
  lines: FreeLine[];
  faults: (FaultWord | undefined)[];
  onChange: (lines: FreeLine[]) => void;
}

function FreeKeys({ lines, faults, onChange }: FreeProps) {
  const t = useT();
  const edit = (at: number, part: Partial<FreeLine>): void =>
    onChange(lines.map((line, i) => (i === at ? { ...line, ...part } : line)));
  return (
    <Accordion variant="contained" mt="md" order={3}>
      <Accordion.Item value="free">
        <Accordion.Control>{t('plugins.advanced')}</Accordion.Control>
        <Accordion.Panel>
          <Text size="xs" c="dimmed" mb="xs">
            {t('plugins.advancedHelp')}
          </Text>
          {lines.map((line, at) => {
            const fault = faults[at];
            const ofValue = fault === 'valueMissing';
            const error = fault ? t(`plugins.fault.${fault}`) : undefined;
            return (
              <Group key={at} gap="xs" mb="xs" align="flex-start" wrap="wrap">
                <TextInput
                  aria-label={`${t('plugins.freeKey')} ${at + 1}`}
                  placeholder={t('plugins.freeKey')}
                  value={line.key}
                  error={ofValue ? undefined : error}
                  spellCheck={false}
                  autoComplete="off"
                  style={{ flex: '2 1 180px' }}
                  onChange={(event) => edit(at, { key: event.currentTarget.value })}
                />
                <TextInput
                  aria-label={`${t('plugins.freeValue')} ${at + 1}`}
                  placeholder={t('plugins.freeValue')}
                  value={line.value}
                  error={ofValue ? error : undefined}
                  spellCheck={false}
                  autoComplete="off"
                  style={{ flex: '2 1 140px' }}
                  onChange={(event) => edit(at, { value: event.currentTarget.value })}
                />
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  size="lg"
                  aria-label={t('plugins.removeLine', { n: at + 1 })}
                  onClick={() => onChange(lines.length > 1 ? lines.filter((_, i) => i !== at) : [NO_LINE])}
                >
                  <IconTrash size={16} />
                </ActionIcon>
              </Group>
            );
          })}
          <Button size="xs" variant="light" leftSection={<IconPlus size={14} aria-hidden />} onClick={() => onChange([...lines, NO_LINE])}>
            {t('plugins.addLine')}
          </Button>
        </Accordion.Panel>
      </Accordion.Item>
    </Accordion>
  );
}

function Result({ result, file }: { result: Applied; file: string }) {
  const t = useT();
  const how = { live: 'plugins.appliedLive', restarted: 'plugins.appliedRestarted', kept: 'plugins.appliedKept' } as const;
  return (
    <Alert color="teal" variant="light" icon={<IconCheck size={18} />} role="status" mb="sm" title={t(how[result.applied])}>
      {result.lines.trim() === '' ? null : (
        <>
          <Group justify="space-between" wrap="nowrap" align="flex-end">
            <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
              {t('plugins.keep', { file })}
            </Text>
            <CopyButton text={result.lines} />
          </Group>
          <pre className={classes.lines} tabIndex={0}>
            {result.lines}
          </pre>
          {result.lines.includes(HIDDEN) ? (
            <Text size="xs" mt={4}>
              {t('plugins.secretLines')}
            </Text>
          ) : null}
        </>
      )}
    </Alert>
  );
}
