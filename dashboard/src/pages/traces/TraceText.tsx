import { useLayoutEffect, useRef } from 'react';
import classes from './Log.module.css';
import { type TraceLog, wholeLines } from './trace';

interface Props {
  log: TraceLog | undefined;
  /** Its accessible name. */
  label: string;
  /** Said of a log in which nothing stands. */
  empty: string;
  /** Stay where one reads, whatever comes. */
  still?: boolean;
}

/** Stays at the end as the log grows, unless somebody scrolled up to read. */
export function TraceText({ log, label, empty, still = false }: Props) {
  const box = useRef<HTMLPreElement>(null);
  const atEnd = useRef(true);
  const text = log ? wholeLines(log) : '';
  useLayoutEffect(() => {
    if (box.current && atEnd.current && !still) box.current.scrollTop = box.current.scrollHeight;
  }, [text, still]);
  return (
    <pre
      ref={box}
      className={classes.log}
      tabIndex={0}
      role="region"
      aria-label={label}
      onScroll={(event) => {
        const { scrollHeight, scrollTop, clientHeight } = event.currentTarget;
        atEnd.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
    >
      {text === '' && log ? empty : text}
    </pre>
  );
}
