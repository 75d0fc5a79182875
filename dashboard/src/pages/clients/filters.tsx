import { Button, Group, NativeSelect, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { IconFilter } from '@tabler/icons-react';
import { useEffect, useId, useState, type ReactNode } from 'react';
import { useSearchParams } from 'wouter';
import { useT } from '../../i18n';

/** A filter that stands in the address of the page, so that it can be linked to. */
export function useFilter(name: string): [value: string, set: (value: string) => void] {
  const [place, setPlace] = useSearchParams();
  const set = (value: string): void =>
    setPlace(
      (before) => {
        const next = new URLSearchParams(before);
        if (value) next.set(name, value);
        else next.delete(name);
        return next;
      },
      { replace: true },
    );
  return [place.get(name) ?? '', set];
}

interface TextProps {
  label: string;
  value: string;
  set: (value: string) => void;
  placeholder?: string;
  error?: string | null;
  width?: number;
}

/** A filter that is typed. The list follows when one stops typing. */
export function TextFilter({ label, value, set, placeholder, error, width = 170 }: TextProps) {
  const [typed, setTyped] = useState(value);
  const [wanted] = useDebouncedValue(typed, 300);
  useEffect(() => {
    if (wanted !== value) set(wanted);
    // Only what was typed moves the address here.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [wanted]);
  useEffect(() => {
    if (value !== wanted) setTyped(value);
    // A link may bring another value while the page is shown.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [value]);
  const id = useId();
  return (
    <Labelled id={id} label={label}>
      <TextInput
        id={id}
        w={width}
        placeholder={placeholder}
        value={typed}
        error={error}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => setTyped(event.currentTarget.value)}
      />
    </Labelled>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  set: (value: string) => void;
  /** Without "all", which stands before them. */
  choices: { value: string; label: string }[];
  width?: number;
}

/** A filter that is chosen. */
export function ChoiceFilter({ label, value, set, choices, width = 140 }: ChoiceProps) {
  const t = useT();
  const id = useId();
  const known = value === '' || choices.some((choice) => choice.value === value) ? [] : [{ value, label: value }];
  return (
    <Labelled id={id} label={label}>
      <NativeSelect
        id={id}
        w={width}
        value={value}
        data={[{ value: '', label: t('common.all') }, ...choices, ...known]}
        onChange={(event) => set(event.currentTarget.value)}
      />
    </Labelled>
  );
}

/** The label stands before its input, so that all of a row are in line with the search box. */
function Labelled({ id, label, children }: { id: string; label: string; children: ReactNode }) {
  return (
    <Group gap={6} wrap="nowrap">
      <Text component="label" htmlFor={id} size="xs" c="dimmed" style={{ whiteSpace: 'nowrap' }}>
        {label}
      </Text>
      {children}
    </Group>
  );
}

interface FiltersProps {
  /** The values of what is inside: those that are set are counted. */
  values: string[];
  clear: () => void;
  children: ReactNode;
}

/** More ways to narrow a list, folded away until one wants them. */
export function Filters({ values, clear, children }: FiltersProps) {
  const t = useT();
  const set = values.filter((value) => value !== '').length;
  const [open, setOpen] = useState(set > 0);
  return (
    <>
      <Button
        variant={set > 0 ? 'light' : 'default'}
        leftSection={<IconFilter size={15} aria-hidden />}
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        {set > 0 ? t('clients.filters-set', { n: set }) : t('clients.filters')}
      </Button>
      {open ? (
        <Group gap="sm" style={{ flexBasis: '100%' }}>
          {children}
          {set > 0 ? (
            <Button variant="subtle" color="gray" onClick={clear}>
              {t('clients.filters-clear')}
            </Button>
          ) : null}
        </Group>
      ) : null}
    </>
  );
}

/** Takes all of these filters out of the address at once. */
export function useClearFilters(names: string[]): () => void {
  const [, setPlace] = useSearchParams();
  return () =>
    setPlace(
      (before) => {
        const next = new URLSearchParams(before);
        for (const name of names) next.delete(name);
        return next;
      },
      { replace: true },
    );
}
