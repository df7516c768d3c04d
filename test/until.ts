import { setTimeout as delay } from 'node:timers/promises';

/** Waits until something is there (neither null, undefined nor false) and returns it; rejects when it never comes. */
export async function until<T>(look: () => Promise<T> | T, what: string, withinMs = 15_000): Promise<NonNullable<T>> {
  const end = performance.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`waited ${withinMs} ms in vain for ${what}`);
    await delay(15);
  }
}
