import { Button, Group, Modal, Text } from '@mantine/core';
import { useEffect, useSyncExternalStore, type ReactNode } from 'react';
import { useLocation } from 'wouter';
import { useT } from '../i18n';

interface Question {
  title: string;
  text: ReactNode;
  /** What the button that does it is called: the verb, as on the button that asked. */
  action: string;
  /** Default: it destroys something (red). */
  danger?: boolean;
}

interface Asked extends Question {
  answer: (yes: boolean) => void;
}

let asked: Asked | null = null;
let opened = false;
const listeners = new Set<() => void>();
const tell = (): void => listeners.forEach((listener) => listener());
const subscribe = (listener: () => void): (() => void) => {
  listeners.add(listener);
  return () => listeners.delete(listener);
};

/** `if (await confirm({ title, text, action: t('clients.disconnect') })) …` */
export function confirm(question: Question): Promise<boolean> {
  asked?.answer(false);
  return new Promise((resolve) => {
    asked = {
      ...question,
      answer: (yes) => {
        opened = false;
        tell();
        resolve(yes);
      },
    };
    opened = true;
    tell();
  });
}

/** Where the questions appear; once, in the shell. */
export function ConfirmHost() {
  const t = useT();
  const question = useSyncExternalStore(subscribe, () => asked);
  const open = useSyncExternalStore(subscribe, () => opened);
  const [place] = useLocation();
  // A question belongs to its page, and to who was asked: with either it is answered with no.
  useEffect(() => () => asked?.answer(false), [place]);
  const destroys = question?.danger !== false;
  // What was asked stays while the window closes.
  return (
    <Modal opened={open} onClose={() => question?.answer(false)} title={question?.title} size="sm" centered closeButtonProps={{ 'aria-label': t('common.close') }}>
      <Text size="sm" component="div" style={{ overflowWrap: 'anywhere' }}>
        {question?.text}
      </Text>
      <Group justify="flex-end" mt="lg" gap="xs">
        {/* A key that is still down from the button that asked must not destroy anything. */}
        <Button variant="default" data-autofocus={destroys || undefined} onClick={() => question?.answer(false)}>
          {t('common.cancel')}
        </Button>
        <Button color={destroys ? 'red' : undefined} data-autofocus={destroys ? undefined : true} onClick={() => question?.answer(true)}>
          {question?.action}
        </Button>
      </Group>
    </Modal>
  );
}
