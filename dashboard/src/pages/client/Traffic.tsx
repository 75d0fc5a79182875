import { useEffect, useRef, useState } from 'react';
import { bytes, count, short } from '../../components';
import { useT } from '../../i18n';
import type { ClientDetail, TrafficCounter } from '../clients/types';
import { Card } from './Facts';
import classes from './Facts.module.css';
import { ratesOf, type Sample } from './rates';

const ROWS = ['messages', 'packets', 'bytes'] as const;

/** What came from a client and went to it, since it connected and now. */
export function Traffic({ detail, at }: { detail: ClientDetail; at: number }) {
  const t = useT();
  const rates = useRates(detail, at);
  const cell = (counter: TrafficCounter) => {
    const number = counter.startsWith('bytes') ? bytes : count;
    const rate = rates[counter];
    return (
      <td>
        {number(detail.traffic[counter])}
        <span className={classes.rate}>{rate === undefined ? '–' : t('client.per-second', { n: counter.startsWith('bytes') ? bytes(rate) : short(rate) })}</span>
      </td>
    );
  };
  return (
    <Card title={t('client.traffic')}>
      <table className={classes.traffic} aria-label={t('client.traffic')}>
        <thead>
          <tr>
            <td />
            <th scope="col">{t('client.from-client')}</th>
            <th scope="col">{t('client.to-client')}</th>
          </tr>
        </thead>
        <tbody>
          {ROWS.map((row) => (
            <tr key={row}>
              <th scope="row">{t(`client.${row}`)}</th>
              {cell(`${row}_received`)}
              {cell(`${row}_sent`)}
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  );
}

/** Rates between the last two looks at the same connection. */
function useRates(detail: ClientDetail, at: number): Record<string, number> {
  const before = useRef<{ connection: string; sample: Sample } | undefined>(undefined);
  const [rates, setRates] = useState<Record<string, number>>({});
  const connection = `${detail.client.connected_at_unix} ${detail.client.port}`;
  useEffect(() => {
    const sample = { at, counters: { ...detail.traffic } };
    const last = before.current?.connection === connection ? before.current.sample : undefined;
    if (last?.at === at) return;
    before.current = { connection, sample };
    setRates(ratesOf(last, sample));
  }, [at, connection, detail]);
  return rates;
}
