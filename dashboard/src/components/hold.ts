import { useEffect, useRef, useState, type RefObject } from 'react';

/** For so long after the last move of the pointer or key the rows keep their places, in milliseconds. */
export const QUIET = 3000;

/** Rows as they stood, each with its newest values; `gone` are the keys of those that are not there any more. */
export function inPlace<R>(stood: readonly R[], fresh: readonly R[], keyOf: (row: R) => string): { rows: R[]; gone: Set<string> } {
  const news = new Map(fresh.map((row) => [keyOf(row), row]));
  const gone = new Set<string>();
  const rows = stood.map((row) => {
    const now = news.get(keyOf(row));
    if (now === undefined) gone.add(keyOf(row));
    return now ?? row;
  });
  return { rows, gone };
}

/** Whether somebody is about to click in the rows of the table inside of `box`. */
export function useAiming(box: RefObject<HTMLElement | null>): boolean {
  const [aiming, setAiming] = useState(false);
  useEffect(() => {
    const element = box.current;
    if (!element) return undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const rest = (): void => {
      clearTimeout(timer);
      setAiming(false);
    };
    const move = (event: Event): void => {
      clearTimeout(timer);
      if (!(event.target instanceof Element) || !event.target.closest('tbody')) {
        setAiming(false);
        return;
      }
      setAiming(true);
      timer = setTimeout(rest, QUIET);
    };
    const events = ['pointermove', 'pointerdown', 'focusin', 'keydown'] as const;
    for (const name of events) element.addEventListener(name, move, { passive: true });
    element.addEventListener('pointerleave', rest);
    return () => {
      clearTimeout(timer);
      for (const name of events) element.removeEventListener(name, move);
      element.removeEventListener('pointerleave', rest);
    };
  }, [box]);
  return aiming;
}

/** The rows to show: while `aiming`, those of the same `question` (null: it is not answered yet) keep their places. */
export function useHeldRows<R>(fresh: R[] | undefined, question: string | null, aiming: boolean, keyOf: (row: R) => string): { rows: R[] | undefined; gone: Set<string> } {
  const stood = useRef<{ question: string; rows: R[] } | null>(null);
  if (fresh && aiming && stood.current?.question === question) return inPlace(stood.current.rows, fresh, keyOf);
  stood.current = fresh && question !== null ? { question, rows: fresh } : null;
  return { rows: fresh, gone: NOBODY };
}

const NOBODY = new Set<string>();
