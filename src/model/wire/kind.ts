import type { z } from 'zod';
import { fail, ok, type Result } from '../result.ts';
import { messageOf } from '../text.ts';

/** Why a stored or queued value could not be read. `key` says where it lies. */
export type RecordFault = {
  readonly kind: 'not-json' | 'version' | 'invalid';
  readonly key: string;
  readonly message: string;
};

/**
 * A kind of value that is kept in Redis or sent through a queue: its current version and schema, and how a value of
 * the version before is brought up to date. Older versions are refused.
 */
export type Kind<T> = {
  readonly name: string;
  readonly version: number;
  readonly schema: z.ZodType<T>;
  readonly upgrade: ((previous: unknown) => T) | null;
};

/** Declares a kind. `previous` is given as long as values of the version before may still be about. */
export function defineKind<T, P = never>(definition: {
  readonly name: string;
  readonly version: number;
  readonly schema: z.ZodType<T>;
  readonly previous?: { readonly schema: z.ZodType<P>; readonly upgrade: (value: P) => T };
}): Kind<T> {
  const { name, version, schema, previous } = definition;
  const upgrade = previous === undefined ? null : (value: unknown) => previous.upgrade(previous.schema.parse(value));
  return { name, version, schema, upgrade };
}

/** A value in its envelope, as it is put into a queue. */
export function wrap<T>(kind: Kind<T>, value: T): { readonly v: number; readonly data: T } {
  return { v: kind.version, data: kind.schema.parse(value) };
}

/** A value in its envelope, as text. Throws when the value is not of its kind: that is a bug on the writing side. */
export function pack<T>(kind: Kind<T>, value: T): string {
  return JSON.stringify(wrap(kind, value));
}

/** The value out of its envelope, validated; or a fault that names `key`. */
export function unwrap<T>(kind: Kind<T>, key: string, envelope: unknown): Result<T, RecordFault> {
  if (envelope === null || typeof envelope !== 'object' || !('v' in envelope) || !('data' in envelope)) {
    return fail({ kind: 'invalid', key, message: `${key}: no ${kind.name} in an envelope {v, data}` });
  }
  if (envelope.v === kind.version) {
    const read = kind.schema.safeParse(envelope.data);
    return read.success ? ok(read.data) : fail(invalid(kind, key, read.error));
  }
  if (envelope.v === kind.version - 1 && kind.upgrade !== null) {
    try {
      return ok(kind.upgrade(envelope.data));
    } catch (error) {
      return fail({ kind: 'invalid', key, message: `${key}: version ${kind.version - 1} of ${kind.name}: ${messageOf(error)}` });
    }
  }
  const found = typeof envelope.v === 'number' ? String(envelope.v) : 'unknown';
  return fail({
    kind: 'version',
    key,
    message: `${key}: ${kind.name} of version ${found}, but this netcheck reads version ${kind.version}${kind.upgrade === null ? '' : ` and ${kind.version - 1}`}`,
  });
}

/** The value out of text that `pack` wrote. */
export function unpack<T>(kind: Kind<T>, key: string, text: string): Result<T, RecordFault> {
  let envelope: unknown;
  try {
    envelope = JSON.parse(text);
  } catch {
    return fail({ kind: 'not-json', key, message: `${key}: not JSON where a ${kind.name} should be` });
  }
  return unwrap(kind, key, envelope);
}

function invalid(kind: Kind<unknown>, key: string, error: z.ZodError): RecordFault {
  const first = error.issues[0];
  const where = first === undefined || first.path.length === 0 ? '' : ` at ${first.path.map(String).join('.')}`;
  return { kind: 'invalid', key, message: `${key}: not a ${kind.name}${where}: ${first?.message ?? 'invalid'}` };
}
