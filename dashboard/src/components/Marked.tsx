import { Code } from '@mantine/core';

/** Text of the broker (descriptions, alarms), in which backticks enclose code. */
export function Marked({ text }: { text: string }) {
  return (
    <>
      {text.split('`').map((part, at) =>
        at % 2 === 1 ? (
          <Code key={at}>{part}</Code>
        ) : (
          <span key={at}>{part}</span>
        ),
      )}
    </>
  );
}
