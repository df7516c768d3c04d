import { oneLine, shorten } from '../../model/text.ts';

/** How one thing stands. `not-checked`: it could not be looked at, and the message says why. */
export type State = 'ok' | 'failed' | 'warning' | 'not-checked';

/** One thing that was looked at. `fix` is what to type or to write, and is there for all that fails. */
export type Item = { readonly state: State; readonly message: string; readonly fix?: string };

/** What belongs together: the installation, Slack, Redis, one cluster. */
export type Section = { readonly title: string; readonly items: readonly Item[] };

/** How long each thing may take, in milliseconds. */
export const LIMIT_MS = 5_000;

export function isFine(message: string): Item {
  return { state: 'ok', message };
}

export function failed(message: string, fix: string): Item {
  return { state: 'failed', message, fix };
}

export function warning(message: string, fix?: string): Item {
  return { state: 'warning', message, ...(fix === undefined ? {} : { fix }) };
}

export function notChecked(message: string, fix?: string): Item {
  return { state: 'not-checked', message, ...(fix === undefined ? {} : { fix }) };
}

/** Text from outside as a part of a message. */
export function quoted(text: string): string {
  return shorten(oneLine(text), 300);
}

/** Names as a part of a message: at most ten of them. */
export function named(names: readonly string[]): string {
  return names.length <= 10 ? names.join(', ') : `${names.slice(0, 10).join(', ')} and ${names.length - 10} more`;
}
