import { Button, Group, Paper, Skeleton, Stack, Text, Title } from '@mantine/core';
import { api, segment } from '../../api/client';
import { ApiError } from '../../api/errors';
import { useAction, useApi } from '../../api/hooks';
import { BackLink, confirm, ErrorNote, PageHeader } from '../../components';
import { useLanguage, useT } from '../../i18n';
import classes from './Plugin.module.css';
import { PluginForm } from './PluginForm';
import { State, Switch } from './switch';
import { described, told } from './told';
import { OWN, type PluginConfig, type PluginDetail } from './types';

/** One plugin: what it says of itself, its keys, and what can be done with it. */
export function PluginPage({ name }: { name: string }) {
  const t = useT();
  const language = useLanguage();
  const plugin = useApi<PluginDetail>(`plugins/${segment(name)}`, { live: true });
  const config = useApi<PluginConfig>(`plugins/${segment(name)}/config`);
  const missing = plugin.error instanceof ApiError && plugin.error.status === 404;
  return (
    <>
      <BackLink to="/plugins" text={t('plugins.back')} />
      <PageHeader title={name} text={plugin.data ? `${described(plugin.data.description, language)} · ${plugin.data.version}` : undefined}>
        {plugin.data ? (
          <>
            <State active={plugin.data.active} />
            <Switch plugin={plugin.data} size="sm" />
            {plugin.data.active && name !== OWN ? <Reload name={name} /> : null}
          </>
        ) : null}
      </PageHeader>
      {missing ? <Text role="alert">{t('plugins.unknown', { name })}</Text> : null}
      {plugin.error && !missing && !plugin.data ? <ErrorNote error={plugin.error} onRetry={() => void plugin.refetch()} mb="md" /> : null}
      {missing ? null : (
        <Stack gap="md">
          {plugin.data ? <Facts plugin={plugin.data} /> : <Skeleton height={80} />}
          {config.error && !config.data ? <ErrorNote error={config.error} onRetry={() => void config.refetch()} /> : null}
          {config.data ? <PluginForm name={name} config={config.data} /> : config.error ? null : <Skeleton height={240} />}
        </Stack>
      )}
    </>
  );
}

function Reload({ name }: { name: string }) {
  const t = useT();
  const reload = useAction({
    run: () => api.post(`plugins/${segment(name)}/reload`),
    done: t('plugins.reloaded', { name }),
    changes: ['plugins', 'listeners', 'alarms'],
  });
  const ask = async (): Promise<void> => {
    const title = t('plugins.reloadTitle', { name });
    if (await confirm({ title, text: t('plugins.reloadText'), action: t('plugins.reload'), danger: false })) reload.mutate();
  };
  return (
    <Button variant="default" size="sm" loading={reload.isPending} onClick={() => void ask()}>
      {t('plugins.reload')}
    </Button>
  );
}

/** What stands in the head of the page already. */
const SAID = ['name', 'version', 'description'];

function Facts({ plugin }: { plugin: PluginDetail }) {
  const t = useT();
  const facts = plugin.facts.filter(([fact]) => !SAID.includes(fact ?? ''));
  return (
    <Paper withBorder p="md" component="section" aria-labelledby="plugin-facts">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h5" id="plugin-facts">
          {t('plugins.facts')}
        </Title>
      </Group>
      {facts.length === 0 ? (
        <Text size="sm" c="dimmed">
          {plugin.active ? t('plugins.noFactsRunning') : t('plugins.noFacts')}
        </Text>
      ) : (
        <dl className={classes.facts}>
          {facts.map(([fact = '', value = ''], at) => {
            const [name, text] = told(fact, value, t);
            return (
              // Facts may share a name; they have no other.
              <div key={at}>
                <dt>{name}</dt>
                <dd>{text}</dd>
              </div>
            );
          })}
        </dl>
      )}
    </Paper>
  );
}
