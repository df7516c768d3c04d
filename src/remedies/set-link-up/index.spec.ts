import { expect, test } from 'vitest';
import { fakeHost, HOSTILE_DEVICES } from '../../../test/remedy-host.ts';
import { setLinkUp } from './index.ts';

const params = { device: 'cni0' };
const SHOW = 'ip -j link show';
const link = (ifname: string, ...flags: readonly string[]) => ({ ifname, flags, mtu: 1450, operstate: 'DOWN' });

test('exactly that device is set up', () => {
  expect(setLinkUp.commands(params)).toEqual([['ip', 'link', 'set', 'dev', 'cni0', 'up']]);
});

test.each([...HOSTILE_DEVICES.map((device) => ({ device })), { ...params, mtu: '1' }, {}])('refused: %j', (given) => {
  expect(setLinkUp.params.safeParse(given).success).toBe(false);
});

test.each([
  ['down', [link('lo', 'UP'), link('cni0', 'BROADCAST')], false, null],
  ['up without carrier', [link('cni0', 'NO-CARRIER', 'BROADCAST', 'UP')], true, 'cni0 is up already'],
  ['gone', [link('cni01', 'BROADCAST')], null, 'there is no device cni0 any more'],
])('a device that is %s', async (_, links, isUp, obsolete) => {
  const state = await setLinkUp.read(params, fakeHost({ [SHOW]: JSON.stringify(links) }).host);
  expect([state, setLinkUp.obsolete(params, state)]).toEqual([{ isUp }, obsolete]);
});

test('output that is not what was asked for is an error', async () => {
  await expect(setLinkUp.read(params, fakeHost({ [SHOW]: '{}' }).host)).rejects.toThrow(/expected array/);
});

test('the state is told by the flag', () => {
  expect([true, false, null].flatMap((isUp) => setLinkUp.describe(params, { isUp }))).toEqual([
    { source: SHOW, text: 'cni0: UP' },
    { source: SHOW, text: 'cni0: no flag UP' },
    { source: SHOW, text: 'no device cni0' },
  ]);
});

test('undoing sets it down again', () => {
  expect(setLinkUp.undoCommands(params, { isUp: false }, { isUp: true })).toEqual([['ip', 'link', 'set', 'dev', 'cni0', 'down']]);
  expect(setLinkUp.undoCommands(params, { isUp: false }, { isUp: false })).toEqual([]);
});
