import { setTimeout as delay } from 'node:timers/promises';

type Settled<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'hanging' };

/** How a promise ended, or that it still hangs so many milliseconds after it was told to stop. */
export async function settled<T>(work: Promise<T>, signal: AbortSignal, graceMs: number): Promise<Settled<T>> {
  const finished = work.then(
    (value): Settled<T> => ({ kind: 'value', value }),
    (error: unknown): Settled<T> => ({ kind: 'error', error }),
  );
  const done = new AbortController();
  const hanging = (async (): Promise<Settled<T>> => {
    const aborted = Promise.withResolvers<void>();
    if (signal.aborted) aborted.resolve();
    else signal.addEventListener('abort', () => aborted.resolve(), { once: true, signal: done.signal });
    await aborted.promise;
    await delay(graceMs, undefined, { signal: done.signal }).catch(() => undefined);
    return { kind: 'hanging' };
  })();
  try {
    return await Promise.race([finished, hanging]);
  } finally {
    done.abort();
  }
}
