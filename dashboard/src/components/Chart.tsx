import { useComputedColorScheme } from '@mantine/core';
import { useEffect, useMemo, useRef, useState } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useLanguage, useT } from '../i18n';
import classes from './Chart.module.css';
import { clock } from './format';

export interface Line {
  label: string;
  color: Colour;
  values: (number | null)[];
}

/** Colours that keep 3 : 1 against the page of either theme, and that differ also to those who see fewer colours. */
const COLOURS = {
  blue: { light: '#0b7189', dark: '#4fb8d0' },
  orange: { light: '#c2570c', dark: '#f2a35c' },
  red: { light: '#c42b4b', dark: '#f2798f' },
  violet: { light: '#6741c0', dark: '#a78bfa' },
} as const;
export type Colour = keyof typeof COLOURS;

/** Steps of an axis of bytes. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

interface Props {
  /** What is drawn, for those who do not see it and as its heading. */
  name: string;
  /** Points in time, in seconds since 1970; as many as each line has values. */
  times: number[];
  lines: Line[];
  format: (value: number | null | undefined) => string;
  height?: number;
  /** Values are in units of 1024. */
  binary?: boolean;
}

/** Lines over time, with the values at the pointer (or now) above them. */
export function Chart({ name, times, lines, format, height = 150, binary = false }: Props) {
  const t = useT();
  const language = useLanguage();
  const scheme = useComputedColorScheme('light');
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const formatter = useRef(format);
  formatter.current = format;

  const data = useMemo<uPlot.AlignedData>(() => [times, ...lines.map((line) => line.values)], [times, lines]);
  const latest = useRef(data);
  latest.current = data;
  const shape = lines.map((line) => line.color + line.label).join();

  useEffect(() => {
    const host = box.current;
    if (!host) return undefined;
    const style = getComputedStyle(host);
    const quiet = style.getPropertyValue('--quiet').trim();
    const grid = style.getPropertyValue('--line').trim();
    const font = `11px ${style.fontFamily}`;
    const axis = { stroke: quiet, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    const chart = new uPlot(
      {
        width: Math.max(host.clientWidth, 50),
        height,
        padding: [8, 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        scales: { x: { time: true }, y: { range: (_, __, most) => [0, nice(most)] } },
        axes: [
          { ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map((tick) => clock(tick * 1000, (ticks[1] ?? Infinity) - (ticks[0] ?? 0) < 60)) },
          { ...axis, size: 56, space: 34, ...(binary ? { incrs: BINARY } : {}), values: (_, ticks) => ticks.map((tick) => formatter.current(tick)) },
        ],
        series: [
          {},
          ...lines.map((line) => {
            const stroke = COLOURS[line.color][scheme];
            return { label: line.label, stroke, width: 1.5, fill: `${stroke}10`, points: { show: false }, spanGaps: false };
          }),
        ],
        hooks: { setCursor: [(self) => setAt(self.cursor.idx ?? null)] },
      },
      latest.current,
      host,
    );
    plot.current = chart;
    const observer = new ResizeObserver(() => {
      const width = host.clientWidth;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height });
    });
    observer.observe(host);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = null;
    };
    // Colours and texts are drawn into the canvas: another theme or language is another chart.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [scheme, language, height, shape, binary]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data]);

  const shown = at !== null && at < times.length ? at : null;
  const value = (line: Line): number | null => (shown === null ? last(line.values) : (line.values[shown] ?? null));
  const some = lines.some((line) => last(line.values) !== null);
  const told = lines.map((line) => `${line.label}: ${t('chart.now', { value: format(last(line.values)) })}, ${t('chart.peak', { value: format(peak(line.values)) })}`).join('; ');
  return (
    <figure className={classes.figure} aria-label={name}>
      <figcaption className={classes.caption}>
        <span className={classes.name}>{name}</span>
        <span className={classes.legend} aria-hidden>
          {lines.map((line) => (
            <span key={line.label} className={classes.item}>
              <i style={{ background: COLOURS[line.color][scheme] }} />
              {line.label}
              <b>{format(value(line))}</b>
            </span>
          ))}
        </span>
        <span className={classes.when} aria-hidden>
          {shown !== null && times[shown] !== undefined ? clock(times[shown] * 1000, true) : ''}
        </span>
      </figcaption>
      <div className={classes.plot} style={{ height }}>
        <div ref={box} role="img" aria-label={some ? told : t('chart.none')} />
        {some ? null : <span className={classes.none}>{t('chart.none')}</span>}
      </div>
    </figure>
  );
}

/** The last value there is. */
export function last(values: (number | null)[]): number | null {
  for (let at = values.length - 1; at >= 0; at -= 1) {
    const value = values[at];
    if (value !== null && value !== undefined) return value;
  }
  return null;
}

export function peak(values: (number | null)[]): number | null {
  return values.reduce<number | null>((most, value) => (value !== null && (most === null || value > most) ? value : most), null);
}

/** The top of a scale that begins at 0: a little air, and never so little that noise fills the chart. */
function nice(most: number | null): number {
  return most === null || most <= 0 ? 1 : most * 1.1;
}
