import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { setBridgeNetfilter } from './index.ts';

const KEY = 'net/bridge/bridge-nf-call-iptables';
const SET = ['sysctl', '-w', `${KEY}=1`];
const LOAD = { load: 'br_netfilter' } as const;
const state = (value: string | null) => ({ values: { [KEY]: value }, file: null });

test('the module is loaded first, by the host, where it is missing', () => {
  expect(setBridgeNetfilter.commands({})).toEqual([SET]);
  expect(setBridgeNetfilter.commands(LOAD)).toEqual([
    ['nsenter', '--target', '1', '--mount', '--', 'modprobe', 'br_netfilter'],
    SET,
  ]);
});

test.each([{ load: 'floppy' }, { load: '-r' }, { load: '' }, { value: '1' }])('refused: %j', (given) => {
  expect(setBridgeNetfilter.params.safeParse(given).success).toBe(false);
});

test.each([
  [{ [`/proc/sys/${KEY}`]: '0\n' }, state('0')],
  [{}, state(null)],
])('of %j the state is %j', async (texts, expected) => {
  expect(await setBridgeNetfilter.read({}, fakeHost({}, texts).host)).toEqual(expected);
});

test.each([
  [{}, state('0'), null],
  [LOAD, state(null), null],
  [LOAD, state('0'), null],
  [{}, state('1'), 'iptables sees the frames by now'],
  [LOAD, state('1'), 'iptables sees the frames by now'],
  [{}, state(null), 'br_netfilter has been unloaded since: check again'],
])('%j with %j: %s', (params, now, obsolete) => {
  expect(setBridgeNetfilter.obsolete(params, now)).toBe(obsolete);
});

test('undoing switches it off, or unloads the module that was not there', () => {
  expect(setBridgeNetfilter.undoCommands({}, state('0'), state('1'))).toEqual([['sysctl', '-w', `${KEY}=0`]]);
  expect(setBridgeNetfilter.undoCommands(LOAD, state(null), state('1'))).toEqual([
    ['nsenter', '--target', '1', '--mount', '--', 'modprobe', '-r', 'br_netfilter'],
  ]);
  expect(setBridgeNetfilter.undoCommands(LOAD, state(null), state(null))).toEqual([]);
});
