import { expect, test } from 'vitest';
import { jsonPatch, mergePatch } from './patch.ts';

test.each<[string, unknown, unknown, unknown]>([
  ['replaces what is no object', { a: 1 }, 'b', 'b'],
  ['merges objects and removes what is null', { a: { b: 1, c: 2 }, d: 3 }, { a: { b: null, e: 4 } }, { a: { c: 2, e: 4 }, d: 3 }],
  ['replaces lists as a whole', { a: [1, 2] }, { a: [3] }, { a: [3] }],
  ['makes objects where there were none', { a: 1 }, { a: { b: { c: null, d: 1 } } }, { a: { b: { d: 1 } } }],
])('a merge patch %s (RFC 7386)', (_case, target, patch, expected) => {
  expect(mergePatch(target, patch)).toEqual(expected);
});

test.each<[string, object[], unknown]>([
  ['appends to a list', [{ op: 'add', path: '/list/-', value: 3 }], { list: [1, 2, 3], 'a/b': 'x' }],
  ['inserts into a list', [{ op: 'add', path: '/list/0', value: 0 }], { list: [0, 1, 2], 'a/b': 'x' }],
  ['removes from a list', [{ op: 'remove', path: '/list/0' }], { list: [2], 'a/b': 'x' }],
  ['replaces in a list', [{ op: 'replace', path: '/list/1', value: 9 }], { list: [1, 9], 'a/b': 'x' }],
  ['reads escaped names', [{ op: 'replace', path: '/a~1b', value: 'y' }], { list: [1, 2], 'a/b': 'y' }],
  ['copies', [{ op: 'copy', from: '/list', path: '/other' }], { list: [1, 2], 'a/b': 'x', other: [1, 2] }],
  ['replaces everything', [{ op: 'replace', path: '', value: {} }], {}],
])('a JSON patch %s (RFC 6902)', (_case, patch, expected) => {
  expect(jsonPatch({ list: [1, 2], 'a/b': 'x' }, patch)).toEqual({ ok: true, value: expected });
});

test.each<[string, unknown]>([
  ['is no list', { op: 'add' }],
  ['has an unknown operation', [{ op: 'sort', path: '/list' }]],
  ['removes what is not there', [{ op: 'remove', path: '/none' }]],
  ['adds below what is not there', [{ op: 'add', path: '/none/a', value: 1 }]],
  ['adds beyond the end of a list', [{ op: 'add', path: '/list/5', value: 1 }]],
  ['tests another value', [{ op: 'test', path: '/list/0', value: 2 }]],
  ['moves what is not there', [{ op: 'move', from: '/none', path: '/a' }]],
])('a JSON patch that %s does not apply', (_case, patch) => {
  const target = { list: [1, 2] };
  expect(jsonPatch(target, patch)).toMatchObject({ ok: false });
  expect(target).toEqual({ list: [1, 2] });
});
