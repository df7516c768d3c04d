import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { setIpForward } from './index.ts';

const state = { lo: true, cni0: false, all: false, 'flannel.1': false };

test.each([
  ['all', [['sysctl', '-w', 'net/ipv4/ip_forward=1']]],
  // With slashes a device's own dots stay part of its name: sysctl(8) would take net.ipv4.conf.flannel.1 apart.
  ['flannel.1', [['sysctl', '-w', 'net/ipv4/conf/flannel.1/forwarding=1']]],
  ['eth0', [['sysctl', '-w', 'net/ipv4/conf/eth0/forwarding=1']]],
])('of %s exactly this runs', (device, commands) => {
  expect(setIpForward.commands({ device })).toEqual(commands);
});

test.each(['', 'eth0/../../kernel', 'eth0;reboot', 'eth0 x', 'eth0\n', 'abcdefghijklmnop', '$(id)', '../all'])(
  '%j is the name of no device',
  (device) => {
    expect(setIpForward.params.safeParse({ device }).success).toBe(false);
  },
);

test('parameters that it does not know are refused', () => {
  expect([
    setIpForward.params.safeParse({ device: 'all', also: 'x' }).success,
    setIpForward.params.safeParse({}).success,
  ]).toEqual([false, false]);
});

test('the state is what the kernel says of each device, and only that', async () => {
  const { host, ran } = fakeHost({
    'ip -j -4 netconf show': JSON.stringify([
      { family: 'inet', interface: 'all', forwarding: false, rp_filter: 'off', mc_forwarding: false },
      { family: 'inet', interface: 'flannel.1', forwarding: true, rp_filter: 'strict' },
    ]),
  });
  expect(await setIpForward.read({ device: 'all' }, host)).toEqual({ all: false, 'flannel.1': true });
  expect(ran).toEqual([['ip', '-j', '-4', 'netconf', 'show']]);
});

test.each(['', '{}', 'null', '[{"interface":"all"}]', '[{"interface":"all","forwarding":"off"}]'])(
  'output that is not what was asked for is an error, not a state: %j',
  async (output) => {
    await expect(setIpForward.read({ device: 'all' }, fakeHost({ 'ip -j -4 netconf show': output }).host)).rejects.toThrow(
      /JSON|expected/,
    );
  },
);

test.each([
  ['all', { all: false }, null],
  ['all', { all: true }, 'forwarding is on already (net.ipv4.ip_forward)'],
  ['flannel.1', { all: true, 'flannel.1': false }, null],
  ['flannel.1', { all: false, 'flannel.1': true }, 'forwarding is on already (flannel.1)'],
  ['flannel.1', { all: true }, 'there is no device flannel.1 any more'],
])('%s with %j: %s', (device, now, obsolete) => {
  expect(setIpForward.obsolete({ device }, now as Record<string, boolean>)).toBe(obsolete);
});

test('the state is told in one line, the global setting first', () => {
  expect(setIpForward.describe({ device: 'all' }, state)).toEqual([
    { source: 'ip -j -4 netconf show', text: 'forwarding on: lo; forwarding off: all, cni0, flannel.1' },
  ]);
  expect(setIpForward.describe({ device: 'all' }, { all: true })).toEqual([
    { source: 'ip -j -4 netconf show', text: 'forwarding on: all' },
  ]);
});

test('undoing gives every device back what it had: the global one first, since writing it changes the others', () => {
  expect(setIpForward.undoCommands({ device: 'all' }, state, {})).toEqual([
    ['sysctl', '-w', 'net/ipv4/ip_forward=0'],
    ['sysctl', '-w', 'net/ipv4/conf/lo/forwarding=1'],
    ['sysctl', '-w', 'net/ipv4/conf/cni0/forwarding=0'],
    ['sysctl', '-w', 'net/ipv4/conf/flannel.1/forwarding=0'],
  ]);
});

test('undoing what was done to one device touches no other', () => {
  expect(setIpForward.undoCommands({ device: 'flannel.1' }, state, {})).toEqual([
    ['sysctl', '-w', 'net/ipv4/conf/flannel.1/forwarding=0'],
  ]);
});
