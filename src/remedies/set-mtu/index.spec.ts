import { expect, test } from 'vitest';
import { fakeHost, HOSTILE_DEVICES } from '../../../test/remedy-host.ts';
import { setMtu } from './index.ts';

const params = { device: 'eth0', from: '1400', mtu: '1500' };
const SHOW = 'ip -j link show';

test('exactly that device is changed', () => {
  expect(setMtu.commands(params)).toEqual([['ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1500']]);
});

test.each([
  ...HOSTILE_DEVICES.map((device) => ({ ...params, device })),
  ...['', '0', '575', '65536', '1500 down', '-1', '1e3'].map((mtu) => ({ ...params, mtu })),
  { device: 'eth0', mtu: '1500' },
  { ...params, more: '' },
])('refused: %j', (given) => {
  expect(setMtu.params.safeParse(given).success).toBe(false);
});

test.each([
  [[{ ifname: 'eth0', flags: [], mtu: 1400 }], 1400, null],
  [[{ ifname: 'eth0', flags: [], mtu: 9000 }], 9000, 'the MTU of eth0 is 9000 by now, not 1400'],
  [[{ ifname: 'eth0', flags: [], mtu: 1500 }], 1500, 'the MTU of eth0 is 1500 by now, not 1400'],
  [[], null, 'there is no device eth0 any more'],
])('of %j', async (links, mtu, obsolete) => {
  const state = await setMtu.read(params, fakeHost({ [SHOW]: JSON.stringify(links) }).host);
  expect([state, setMtu.obsolete(params, state)]).toEqual([{ mtu }, obsolete]);
});

test('the state is told, and undoing gives the MTU back that there was', () => {
  expect(setMtu.describe(params, { mtu: 1400 })).toEqual([{ source: SHOW, text: 'eth0 mtu 1400' }]);
  expect(setMtu.undoCommands(params, { mtu: 1400 }, { mtu: 1500 })).toEqual([
    ['ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1400'],
  ]);
  expect(setMtu.undoCommands(params, { mtu: 1400 }, { mtu: 1400 })).toEqual([]);
});
