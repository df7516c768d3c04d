import { nearNames } from '../model/near-names.ts';
import { UsageError } from './usage-error.ts';

/** The value of an option that takes text; undefined where it was not given. Throws a `UsageError` when it was given twice. */
export function textOption(options: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = options[name];
  if (Array.isArray(value)) throw new UsageError(`--${name} was given ${value.length} times (${value.join(', ')}): give it once`);
  // What looks like a number arrives as one; to netcheck it is a name all the same.
  return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
}

/** The value of `--output`: one of these formats. Throws a `UsageError` when it is none. */
export function outputFormat<T extends string>(value: unknown, formats: readonly T[]): T {
  const format = formats.find((candidate) => candidate === value);
  if (format !== undefined) return format;
  const [near] = nearNames(String(value), formats, 1);
  const known = `${formats.slice(0, -1).join(', ')} or ${formats.at(-1)}`;
  throw new UsageError(`--output ${String(value)}: it is ${known}.${near === undefined ? '' : ` Did you mean ${near}?`}`);
}
