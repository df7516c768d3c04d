import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { raiseNeighbourLimits } from './index.ts';

const params = { thresh1: '1024', thresh2: '2048', thresh3: '4096' };
const key = (number: number) => `net/ipv4/neigh/default/gc_thresh${number}`;
const FILE = '/etc/sysctl.d/99-netcheck-neighbours.conf';
const state = (values: readonly (string | null)[], file: string | null = null) => ({
  values: { [key(3)]: values[2] ?? null, [key(2)]: values[1] ?? null, [key(1)]: values[0] ?? null },
  file,
});
const DEFAULTS = state(['128', '512', '1024']);

test('the largest limit is raised first, after the file', () => {
  expect(raiseNeighbourLimits.commands(params)).toEqual([
    [
      'write-file',
      FILE,
      expect.stringMatching(
        /^# Written by netcheck \(remedy raise-neighbour-limits\).*\n# To undo it: .*\nnet\.ipv4\.neigh\.default\.gc_thresh3 = 4096\nnet\.ipv4\.neigh\.default\.gc_thresh2 = 2048\nnet\.ipv4\.neigh\.default\.gc_thresh1 = 1024\n$/,
      ),
    ],
    ['sysctl', '-w', `${key(3)}=4096`],
    ['sysctl', '-w', `${key(2)}=2048`],
    ['sysctl', '-w', `${key(1)}=1024`],
  ]);
});

test.each([
  { ...params, thresh1: '2048' },
  { ...params, thresh3: '1000' },
  { ...params, thresh3: '999999999' },
  { ...params, thresh1: '1' },
  { ...params, thresh2: '2048 kernel/panic=1' },
  { ...params, thresh3: '-4096' },
  { ...params, also: '1' },
  { thresh3: '4096' },
])('refused: %j', (given) => {
  expect(raiseNeighbourLimits.params.safeParse(given).success).toBe(false);
});

test('the limits and the file are read', async () => {
  const texts = { [`/proc/sys/${key(1)}`]: '128\n', [`/proc/sys/${key(2)}`]: '512\n', [`/proc/sys/${key(3)}`]: '1024\n' };
  expect(await raiseNeighbourLimits.read(params, fakeHost({}, texts).host)).toEqual(DEFAULTS);
});

test.each([
  [DEFAULTS, null],
  [state(['1024', '2048', '4096']), 'the table may have 4096 entries by now (gc_thresh3)'],
  [state([]), 'the kernel shows no limits of the neighbour table here'],
])('with %j: %s', (now, obsolete) => {
  expect(raiseNeighbourLimits.obsolete(params, now)).toBe(obsolete);
});

test('undoing lowers the smallest first, and removes the file', () => {
  expect(raiseNeighbourLimits.undoCommands(params, DEFAULTS, state(['1024', '2048', '4096'], 'text'))).toEqual([
    ['sysctl', '-w', `${key(1)}=128`],
    ['sysctl', '-w', `${key(2)}=512`],
    ['sysctl', '-w', `${key(3)}=1024`],
    ['remove-file', FILE],
  ]);
});
