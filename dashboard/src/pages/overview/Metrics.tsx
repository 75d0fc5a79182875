import { Group, Paper, Switch, Title } from '@mantine/core';
import { useState } from 'react';
import { bytes, count, short } from '../../components/format';
import { useT } from '../../i18n';
import { FIRST, grouped } from './grouped';
import classes from './overview.module.css';

interface Props {
  metrics: Record<string, number>;
  rates: Record<string, number>;
}

/** All counters since the start of the broker, by group; those that never counted are left out unless asked for. */
export function Metrics({ metrics, rates }: Props) {
  const t = useT();
  const [all, setAll] = useState(false);
  const words: Record<string, string> = { packets: t('overview.packets'), messages: t('overview.messages'), bytes: t('overview.bytes'), other: t('overview.other') };
  return (
    <section aria-labelledby="metrics">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h5" id="metrics">
          {t('overview.metrics')}
        </Title>
        <Switch size="xs" label={t('overview.zeros')} checked={all} onChange={(event) => setAll(event.currentTarget.checked)} />
      </Group>
      <div className={classes.metrics}>
        {grouped(metrics).map(([group, rows]) => {
          const shown = all ? rows : rows.filter(([, value]) => value !== 0);
          if (shown.length === 0 && !FIRST.includes(group)) return null;
          return (
            <Paper withBorder key={group} className={classes.metric}>
              <Title order={3} size="h6" className={classes.metricTitle}>
                {words[group] ?? group}
              </Title>
              {shown.length === 0 ? <p className={classes.quiet}>{t('overview.all-zero')}</p> : null}
              <dl className={classes.pairs}>
                {shown.map(([name, value]) => {
                  const rate = rates[`${group}/${name}`];
                  return (
                    <div key={name}>
                      <dt>{name}</dt>
                      <dd>
                        {rate ? <span className={classes.rate}>{t('overview.per-second', { n: group === 'bytes' ? bytes(rate) : short(rate) })}</span> : null}
                        {count(value)}
                      </dd>
                    </div>
                  );
                })}
              </dl>
            </Paper>
          );
        })}
      </div>
    </section>
  );
}
