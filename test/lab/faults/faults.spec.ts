import { expect, test } from 'vitest';
import { FAULTS } from './index.ts';

test('the names are those of the map, and every row is one of the catalogue', () => {
  const wrong = Object.entries(FAULTS).filter(([name, fault]) => name !== fault.name || !/^[A-Z]\d*$/.test(fault.row));
  expect(wrong).toEqual([]);
});
