import { UsageError } from './usage-error.ts';

/** The value of an option that takes text; undefined where it was not given. Throws a `UsageError` when it was given twice. */
export function textOption(options: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = options[name];
  if (Array.isArray(value)) throw new UsageError(`--${name} was given ${value.length} times (${value.join(', ')}): give it once`);
  // What looks like a number arrives as one; to netcheck it is a name all the same.
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}
