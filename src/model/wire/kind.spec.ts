import { expect, test } from 'vitest';
import { z } from 'zod';
import { defineKind, pack, unpack, unwrap, wrap } from './kind.ts';

const First = z.strictObject({ name: z.string() });
const Second = z.strictObject({ name: z.string(), size: z.int() });
const first = defineKind({ name: 'thing', version: 1, schema: First });
const second = defineKind({
  name: 'thing',
  version: 2,
  schema: Second,
  previous: { schema: First, upgrade: (old) => ({ ...old, size: 0 }) },
});
const third = defineKind({ name: 'thing', version: 3, schema: Second });

test('a value is read back as it was written', () => {
  expect(unpack(second, 'k', pack(second, { name: 'a', size: 1 }))).toEqual({ ok: true, value: { name: 'a', size: 1 } });
  expect(unwrap(first, 'k', wrap(first, { name: 'a' }))).toEqual({ ok: true, value: { name: 'a' } });
});

test('the version before is brought up to date; others are refused with what was found and what is understood', () => {
  expect(unpack(second, 'k', pack(first, { name: 'a' }))).toEqual({ ok: true, value: { name: 'a', size: 0 } });
  expect(unpack(third, 'nc:k', pack(first, { name: 'a' }))).toEqual({
    ok: false,
    error: { kind: 'version', key: 'nc:k', message: 'nc:k: thing of version 1, but this netcheck reads version 3' },
  });
  expect(unpack(second, 'nc:k', pack(third, { name: 'a', size: 1 }))).toEqual({
    ok: false,
    error: { kind: 'version', key: 'nc:k', message: 'nc:k: thing of version 3, but this netcheck reads version 2 and 1' },
  });
});

test.each([
  ['nonsense', 'not-json', 'nc:k: not JSON where a thing should be'],
  ['7', 'invalid', 'nc:k: no thing in an envelope {v, data}'],
  ['{"v":2,"data":{"name":"a"}}', 'invalid', 'nc:k: not a thing at size: Invalid input: expected number, received undefined'],
  ['{"v":2,"data":{"name":"a","size":1,"more":1}}', 'invalid', 'nc:k: not a thing: Unrecognized key: "more"'],
  ['{"v":1,"data":{}}', 'invalid', expect.stringContaining('nc:k: version 1 of thing:')],
  ['{"v":"2","data":{}}', 'version', 'nc:k: thing of version unknown, but this netcheck reads version 2 and 1'],
])('%s is a fault that names the key', (text, kind, message) => {
  expect(unpack(second, 'nc:k', text)).toEqual({ ok: false, error: { kind, key: 'nc:k', message } });
});

test('what is not of its kind cannot be written', () => {
  expect(() => pack(second, { name: 'a', size: 0.5 })).toThrow('expected int');
});
