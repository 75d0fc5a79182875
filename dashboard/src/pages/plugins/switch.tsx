import { Badge, Button, Stack, Text, Tooltip } from '@mantine/core';
import { api, segment } from '../../api/client';
import { useAction } from '../../api/hooks';
import { confirm } from '../../components';
import { useT } from '../../i18n';
import { OWN, type PluginRow } from './types';

interface Wish {
  name: string;
  active: boolean;
}

/** There is one node; plugins are switched under its name, as in EMQ 2.3. */
async function switchTo({ name, active }: Wish): Promise<void> {
  const nodes = await api.get<{ name: string }[]>('management/nodes');
  await api.put(`nodes/${segment(nodes[0]?.name ?? '')}/plugins/${segment(name)}`, { active });
}

export function State({ active }: { active: boolean }) {
  const t = useT();
  return (
    <Badge variant="light" color={active ? 'teal' : 'gray'}>
      {active ? t('plugins.running') : t('plugins.stopped')}
    </Badge>
  );
}

/** The button that starts a plugin, or stops it. */
export function Switch({ plugin, size = 'compact-xs' }: { plugin: PluginRow; size?: 'compact-xs' | 'sm' }) {
  const t = useT();
  const { name, active } = plugin;
  const action = useAction<Wish>({
    run: switchTo,
    done: (_, wish) => t(wish.active ? 'plugins.started' : 'plugins.stoppedNow', { name: wish.name }),
    changes: ['plugins', 'listeners', 'alarms'],
  });
  const stop = async (): Promise<void> => {
    const text = (
      <Stack gap="xs">
        <Text size="sm">{t('plugins.stopText')}</Text>
        {name.startsWith('emq_auth_') ? (
          <Text size="sm" fw={600}>
            {t('plugins.stopAuth')}
          </Text>
        ) : null}
      </Stack>
    );
    if (await confirm({ title: t('plugins.stopTitle', { name }), text, action: t('plugins.stop') })) {
      action.mutate({ name, active: false });
    }
  };
  if (!active) {
    return (
      <Button size={size} variant="light" loading={action.isPending} aria-label={t('plugins.startName', { name })} onClick={() => action.mutate({ name, active: true })}>
        {t('plugins.start')}
      </Button>
    );
  }
  if (name === OWN) {
    // It can be reached, so that the reason can be read, but does nothing.
    return (
      <Tooltip label={t('plugins.stopSelf')} multiline maw={260} events={{ hover: true, focus: true, touch: true }}>
        <Button size={size} variant="light" color="red" data-disabled aria-disabled aria-label={t('plugins.stopName', { name })} onClick={(event) => event.preventDefault()}>
          {t('plugins.stop')}
        </Button>
      </Tooltip>
    );
  }
  return (
    <Button size={size} variant="light" color="red" loading={action.isPending} aria-label={t('plugins.stopName', { name })} onClick={() => void stop()}>
      {t('plugins.stop')}
    </Button>
  );
}
