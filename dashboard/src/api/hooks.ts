import { notifications } from '@mantine/notifications';
import { keepPreviousData, QueryClient, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { api, type QueryValues } from './client';
import { ApiError, words } from './errors';

/** How often lists ask again, in milliseconds; not while the page is hidden. */
export const LIVE = 5000;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The broker may well be on this machine: the browser's idea of being online says nothing.
      networkMode: 'always',
      retry: (count, error) => count < 1 && error instanceof ApiError && error.status >= 500,
      staleTime: 1000,
      gcTime: 60_000,
    },
    // What was typed into a form, and a secret that came back, are forgotten with the form.
    mutations: { networkMode: 'always', retry: false, gcTime: 0 },
  },
});

interface Asking {
  query?: QueryValues;
  /** Ask again every 5 s (`true`), or every so many milliseconds. */
  live?: boolean | number;
  enabled?: boolean;
  /** Go on showing the answer to the last question while the next is asked. */
  keep?: boolean;
}

/** GET of a path below `api/v2/`. The key is `[first segment, path, query]`: `useAction` invalidates by first segment. */
export function useApi<T>(path: string, asking: Asking = {}) {
  const { query, live = false, enabled = true, keep = false } = asking;
  return useQuery<T>({
    queryKey: [path.split('/')[0], path, query ?? {}],
    queryFn: ({ signal }) => api.get<T>(path, query, signal),
    enabled,
    refetchInterval: live === true ? LIVE : live,
    placeholderData: keep ? keepPreviousData : undefined,
  });
}

interface Doing<V, R> {
  run: (variables: V) => Promise<R>;
  /** The sentence shown when it worked; none: nothing is shown. */
  done?: string | ((result: R, variables: V) => string);
  /** First segments of the paths whose answers this changed (`['search', 'bans']`); default: all. */
  changes?: string[];
  onDone?: (result: R, variables: V) => void;
  /** The caller shows the error itself. */
  quiet?: boolean;
}

/** Something that changes the broker: shows how it went, and has the lists asked again. */
export function useAction<V = void, R = unknown>({ run, done, changes, onDone, quiet = false }: Doing<V, R>) {
  const client = useQueryClient();
  return useMutation<R, unknown, V>({
    mutationFn: run,
    onSuccess: async (result, variables) => {
      const sentence = typeof done === 'function' ? done(result, variables) : done;
      if (sentence) notifications.show({ message: sentence, color: 'teal' });
      onDone?.(result, variables);
      if (!changes) await client.invalidateQueries();
      else await Promise.all(changes.map((key) => client.invalidateQueries({ queryKey: [key] })));
    },
    onError: (error) => {
      if (!quiet) notifications.show({ message: words(error), color: 'red', autoClose: 8000 });
    },
  });
}
