import { expect, test } from 'vitest';
import { fakeHost, HOSTILE_DEVICES } from '../../../test/remedy-host.ts';
import { setRpFilter } from './index.ts';

const params = { device: 'eth0.100', value: '2' } as const;
const OWN = 'net/ipv4/conf/eth0.100/rp_filter';
const ALL = 'net/ipv4/conf/all/rp_filter';
const state = (own: string | null, all: string) => ({ values: { [OWN]: own, [ALL]: all }, file: null });

test('exactly the one device is set, its dots being its own', () => {
  expect(setRpFilter.commands(params)).toEqual([['sysctl', '-w', `${OWN}=2`]]);
});

test.each([
  ...[...HOSTILE_DEVICES, 'all', 'default'].map((device) => ({ ...params, device })),
  { ...params, value: '0' },
  { ...params, value: '' },
  { ...params, more: '' },
])('refused: %j', (given) => {
  expect(setRpFilter.params.safeParse(given).success).toBe(false);
});

test('the device and `all` are read, since the larger number counts', async () => {
  const texts = { [`/proc/sys/${OWN}`]: '0\n', [`/proc/sys/${ALL}`]: '1\n' };
  expect(await setRpFilter.read(params, fakeHost({}, texts).host)).toEqual(state('0', '1'));
});

test.each([
  [state('0', '1'), null],
  [state('1', '0'), null],
  [state('1', '1'), null],
  [state('0', '0'), 'the filter of eth0.100 is off by now'],
  [state('2', '1'), 'the filter of eth0.100 is loose by now'],
  [state('1', '2'), 'the filter of eth0.100 is loose by now'],
  [state(null, '1'), 'there is no device eth0.100 any more'],
])('with %j: %s', (now, obsolete) => {
  expect(setRpFilter.obsolete(params, now)).toBe(obsolete);
});

test('undoing gives the device what it had', () => {
  expect(setRpFilter.undoCommands(params, state('0', '1'), state('2', '1'))).toEqual([['sysctl', '-w', `${OWN}=0`]]);
});
