import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { REMEDIES } from './index.ts';

const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'kit')
  .map(({ name }) => name);

test('the map of remedies is the folders that there are, each by its own id and with a readme', () => {
  expect(Object.keys(REMEDIES).toSorted()).toEqual(folders.toSorted());
  const wrong = Object.entries(REMEDIES).filter(
    ([name, { id }]) => id !== name || !existsSync(join(import.meta.dirname, name, 'readme.md')),
  );
  expect(wrong).toEqual([]);
});

test.each(Object.values(REMEDIES))('$id says how it is undone, or why it cannot be', ({ undo, irreversible }) => {
  expect([undo === null, irreversible !== undefined]).toEqual(undo === null ? [true, true] : [false, false]);
});
