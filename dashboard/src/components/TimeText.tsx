import { useEffect, useState } from 'react';
import { brokerNow } from '../api/clock';
import { useLanguage, useT } from '../i18n';
import { dateTime, duration, moment } from './format';

interface Props {
  /** As the API gives it: see `moment`. */
  value: string | number | null | undefined;
  /** How long ago (or until then) rather than when; when stands in the tooltip. */
  relative?: boolean;
}

/** A point in time, in the locale. */
export function TimeText({ value, relative = false }: Props) {
  useLanguage();
  const time = moment(value);
  if (time === null) return <span>{dateTime(value)}</span>;
  return (
    <time dateTime={new Date(time).toISOString()} title={dateTime(time)}>
      {relative ? <Span time={time} /> : dateTime(time)}
    </time>
  );
}

function Span({ time }: { time: number }) {
  const t = useT();
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 10_000);
    return () => clearInterval(timer);
  }, []);
  const seconds = (brokerNow() - time) / 1000;
  // Clocks that differ a little make no future.
  if (seconds < 1 && seconds > -2) return t('time.now');
  return seconds > 0 ? t('time.ago', { span: duration(seconds) }) : t('time.in', { span: duration(-seconds) });
}
