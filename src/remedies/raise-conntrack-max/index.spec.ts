import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { raiseConntrackMax } from './index.ts';

const params = { max: '262144' };
const KEY = 'net/netfilter/nf_conntrack_max';
const FILE = '/etc/sysctl.d/99-netcheck-conntrack.conf';
const TEXT = `# Written by netcheck (remedy raise-conntrack-max), so that it holds after the next boot as well.
# To undo it: "Request undo" under netcheck's report. By hand: remove this file, and set what was there before with sysctl -w.
net.netfilter.nf_conntrack_max = 262144
`;
const state = (value: string | null, file: string | null = null) => ({ values: { [KEY]: value }, file });

test('the file comes first: where it cannot be written nothing is changed', () => {
  expect(raiseConntrackMax.commands(params)).toEqual([
    ['write-file', FILE, TEXT],
    ['sysctl', '-w', `${KEY}=262144`],
  ]);
});

test.each(['', '0', '-1', '1023', '2147483648', '99999999999', '1e9', ' 4096', '4096\n', '4096 net/ipv4/ip_forward=1'])(
  'refused: %j',
  (max) => {
    expect(raiseConntrackMax.params.safeParse({ max }).success).toBe(false);
  },
);

test('nothing but the limit is taken', () => {
  expect(raiseConntrackMax.params.safeParse({ ...params, file: '/etc/passwd' }).success).toBe(false);
});

test.each([
  [{ [`/proc/sys/${KEY}`]: '131072\n' }, state('131072')],
  [{ [`/proc/sys/${KEY}`]: '262144\n', [FILE]: TEXT }, state('262144', TEXT)],
  [{}, state(null)],
])('of %j the state is %j', async (texts, expected) => {
  expect(await raiseConntrackMax.read(params, fakeHost({}, texts).host)).toEqual(expected);
});

test.each([
  [state('131072'), null],
  [state('262143', TEXT), null],
  [state('262144'), 'the table may have 262144 entries by now'],
  [state('1048576'), 'the table may have 1048576 entries by now'],
  [state(null), 'the kernel tracks no connections any more'],
])('with %j: %s', (now, obsolete) => {
  expect(raiseConntrackMax.obsolete(params, now)).toBe(obsolete);
});

test('the state is told by what holds now, and by what the file sets', () => {
  const source = `/proc/sys/${KEY}`;
  expect([
    raiseConntrackMax.describe(params, state('131072')),
    raiseConntrackMax.describe(params, state('262144', TEXT)),
  ]).toEqual([
    [
      { source, text: '131072' },
      { source: FILE, text: 'no such file' },
    ],
    [
      { source, text: '262144' },
      { source: FILE, text: 'net.netfilter.nf_conntrack_max = 262144' },
    ],
  ]);
});

test('undoing brings back the value, and the file or that there was none', () => {
  const after = state('262144', TEXT);
  expect(raiseConntrackMax.undoCommands(params, state('131072'), after)).toEqual([
    ['sysctl', '-w', `${KEY}=131072`],
    ['remove-file', FILE],
  ]);
  expect(raiseConntrackMax.undoCommands(params, state('131072', '# older\n'), after)).toEqual([
    ['sysctl', '-w', `${KEY}=131072`],
    ['write-file', FILE, '# older\n'],
  ]);
});

test('what was not changed is not undone', () => {
  expect(raiseConntrackMax.undoCommands(params, state('131072'), state('131072', TEXT))).toEqual([['remove-file', FILE]]);
  expect(raiseConntrackMax.undoCommands(params, state('131072'), state('131072'))).toEqual([]);
});
