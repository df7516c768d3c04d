import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { setLocalPortRange } from './index.ts';

const params = { range: '32768 60999' };
const KEY = 'net/ipv4/ip_local_port_range';
const state = (value: string | null) => ({ values: { [KEY]: value }, file: null });

test('the range is one argument', () => {
  expect(setLocalPortRange.commands(params)).toEqual([['sysctl', '-w', `${KEY}=32768 60999`]]);
});

test.each(['', '32768', '60999 32768', '1023 60999', '32768 65536', '32768-60999', '32768 60999 1', '-1 60999', '1024  2048'])(
  'refused: %j',
  (range) => {
    expect(setLocalPortRange.params.safeParse({ range }).success).toBe(false);
  },
);

test('the kernel says it with a tab', async () => {
  const { host } = fakeHost({}, { [`/proc/sys/${KEY}`]: '15000\t60999\n' });
  expect(await setLocalPortRange.read(params, host)).toEqual(state('15000 60999'));
});

test.each([
  [state('15000 60999'), null],
  [state('32768 65535'), null],
  [state('32768 60999'), 'connections get ports 32768 to 60999 by now'],
  [state('40000 50000'), 'connections get ports 40000 to 50000 by now'],
  [state(null), 'the kernel shows no range of local ports'],
])('with %j: %s', (now, obsolete) => {
  expect(setLocalPortRange.obsolete(params, now)).toBe(obsolete);
});

test('undoing brings the range back', () => {
  expect(setLocalPortRange.undoCommands(params, state('15000 60999'), state('32768 60999'))).toEqual([
    ['sysctl', '-w', `${KEY}=15000 60999`],
  ]);
});
