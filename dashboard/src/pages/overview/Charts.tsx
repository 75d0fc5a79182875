import { Group, SegmentedControl, SimpleGrid, Title } from '@mantine/core';
import { useMemo, useRef, useState } from 'react';
import { useEvents } from '../../api/events';
import { useApi } from '../../api/hooks';
import type { History } from '../../api/types';
import { Chart, type Colour } from '../../components/Chart';
import { ErrorNote } from '../../components/ErrorNote';
import { bytes, short } from '../../components/format';
import { useT, type PlainKey } from '../../i18n';
import { joined, pointOf, SEEN, type Point, type Stats } from './rates';

type Range = 'hour' | 'day';
/** Live points between two askings for the history: 2 s each, asked again each 30 s. */
const MOST_LIVE = 120;
const NONE: History = { step_seconds: 5, from: 0, series: {} };

interface Drawn {
  title: PlainKey;
  format: (value: number | null | undefined) => string;
  binary?: boolean;
  lines: [name: string, label: PlainKey, color: Colour][];
}

const CHARTS: Drawn[] = [
  {
    title: 'overview.chart.messages',
    format: short,
    lines: [
      ['messages/received', 'overview.received', 'blue'],
      ['messages/sent', 'overview.sent', 'orange'],
      ['messages/dropped', 'overview.dropped', 'red'],
    ],
  },
  {
    title: 'overview.chart.bytes',
    format: bytes,
    binary: true,
    lines: [
      ['bytes/received', 'overview.received', 'blue'],
      ['bytes/sent', 'overview.sent', 'orange'],
    ],
  },
  {
    title: 'overview.chart.sessions',
    format: short,
    lines: [
      ['clients', 'overview.clients', 'blue'],
      ['sessions', 'overview.sessions', 'violet'],
    ],
  },
  {
    title: 'overview.chart.subscriptions',
    format: short,
    lines: [
      ['subscriptions', 'overview.subscriptions', 'blue'],
      ['retained', 'overview.retained', 'violet'],
    ],
  },
  { title: 'overview.chart.cpu', format: (value) => (value === null || value === undefined ? '–' : `${short(value)} %`), lines: [['cpu', 'overview.cpu', 'violet']] },
  { title: 'overview.chart.memory', format: bytes, binary: true, lines: [['memory', 'overview.memory.used', 'orange']] },
];

/** What went through the broker in the last hour or day, going on live. */
export function Charts() {
  const t = useT();
  const [range, setRange] = useState<Range>('hour');
  const history = useApi<History>('history', { query: { range }, live: 30_000 });
  const live = useLive();
  const data = history.data;
  const charts = useMemo(
    () =>
      CHARTS.map((chart) => {
        const names = chart.lines.map(([name]) => name);
        // A point of the day's chart stands for a minute and more: two seconds would only be noise there.
        const { times, values } = joined(data ?? NONE, range === 'hour' && chart.lines.every(([name]) => SEEN.includes(name)) ? live : [], names);
        return { chart, times, lines: chart.lines.map(([, label, color], at) => ({ label: t(label), color, values: values[at] ?? [] })) };
      }),
    [data, live, range, t],
  );
  return (
    <section aria-labelledby="traffic">
      <Group justify="space-between" mb="xs">
        <Title order={2} size="h5" id="traffic">
          {t('overview.traffic')}
        </Title>
        <SegmentedControl
          size="xs"
          aria-label={t('overview.range')}
          value={range}
          onChange={(next) => setRange(next as Range)}
          data={[
            { value: 'hour', label: t('overview.hour') },
            { value: 'day', label: t('overview.day') },
          ]}
        />
      </Group>
      {history.error && !data ? <ErrorNote error={history.error} onRetry={() => void history.refetch()} mb="sm" /> : null}
      <SimpleGrid cols={{ base: 1, sm: 2, xl: 3 }} spacing="sm">
        {charts.map(({ chart, times, lines }) => (
          <Chart key={chart.title} name={t(chart.title)} times={times} lines={lines} format={chart.format} height={130} binary={chart.binary} />
        ))}
      </SimpleGrid>
    </section>
  );
}

/** Points made of the `stats` events of this page's stream. */
function useLive(): Point[] {
  const [points, setPoints] = useState<Point[]>([]);
  const before = useRef<Stats | null>(null);
  useEvents(['stats'], (event, data) => {
    if (event !== 'stats') return;
    const now = data as Stats;
    const point = before.current && pointOf(before.current, now);
    before.current = now;
    if (point) setPoints((all) => [...all.slice(1 - MOST_LIVE), point]);
  });
  return points;
}
