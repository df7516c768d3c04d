import { expect, test } from 'vitest';
import { fakeHost, HOSTILE_DEVICES } from '../../../test/remedy-host.ts';
import { disableTxChecksum } from './index.ts';

const params = { device: 'flannel.1' };
const SHOW = ['ethtool', '-k', 'flannel.1'];
const OUTPUT = `Features for flannel.1:
rx-checksumming: on
tx-checksumming: on
	tx-checksum-ipv4: off [fixed]
	tx-checksum-ip-generic: on
tcp-segmentation-offload: on
	tx-tcp-segmentation: on
`;
const ON = {
  'rx-checksumming': 'on',
  'tx-checksumming': 'on',
  'tx-checksum-ipv4': 'off [fixed]',
  'tx-checksum-ip-generic': 'on',
  'tcp-segmentation-offload': 'on',
  'tx-tcp-segmentation': 'on',
};
const OFF = { ...ON, 'tx-checksumming': 'off', 'tx-checksum-ip-generic': 'off', 'tx-tcp-segmentation': 'off [requested on]' };

test('exactly that device is changed', () => {
  expect(disableTxChecksum.commands(params)).toEqual([['ethtool', '-K', 'flannel.1', 'tx-checksum-ip-generic', 'off']]);
});

test.each([...HOSTILE_DEVICES.map((device) => ({ device })), { ...params, more: '' }])('refused: %j', (given) => {
  expect(disableTxChecksum.params.safeParse(given).success).toBe(false);
});

test('all features are the state: others change with this one', async () => {
  const { host, ran } = fakeHost({ [SHOW.join(' ')]: OUTPUT });
  expect([await disableTxChecksum.read(params, host), ran]).toEqual([ON, [SHOW]]);
});

test('a device that has no such feature is an error', async () => {
  const { host } = fakeHost({ [SHOW.join(' ')]: 'Features for flannel.1:\nrx-checksumming: on\n' });
  await expect(disableTxChecksum.read(params, host)).rejects.toThrow(
    'ethtool says nothing of tx-checksum-ip-generic of flannel.1',
  );
});

test.each([
  [ON, null],
  [OFF, 'tx-checksum-ip-generic of flannel.1 is off by now'],
  [{ 'tx-checksum-ip-generic': 'off [fixed]' }, 'tx-checksum-ip-generic of flannel.1 is off [fixed] by now'],
])('with %j: %s', (state, obsolete) => {
  expect(disableTxChecksum.obsolete(params, state as Record<string, string>)).toBe(obsolete);
});

test('the state is told by the one feature, and undoing switches it on', () => {
  expect(disableTxChecksum.describe(params, ON)).toEqual([{ source: SHOW.join(' '), text: 'tx-checksum-ip-generic: on' }]);
  expect(disableTxChecksum.undoCommands(params, ON, OFF)).toEqual([
    ['ethtool', '-K', 'flannel.1', 'tx-checksum-ip-generic', 'on'],
  ]);
  expect(disableTxChecksum.undoCommands(params, ON, ON)).toEqual([]);
});
