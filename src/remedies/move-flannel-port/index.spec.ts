import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { moveFlannelPort } from './index.ts';

const from = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}';
const to = '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan","Port":8475}}';
const params = { namespace: 'kube-flannel', configMap: 'kube-flannel-cfg', daemonSet: 'kube-flannel-ds', from, to };
const PATH = '/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg';
const ROLL = ['ROLL', 'daemonsets/kube-flannel/kube-flannel-ds', 'one node at a time, 90s each'];
const BACKUP = 'netcheck.io/net-conf-before';

/** What the ConfigMap holds. */
const stored = (netConf: string, annotations?: object): Record<string, string> => ({
  [PATH]: JSON.stringify({ metadata: { annotations }, data: { 'net-conf.json': netConf, 'cni-conf.json': '{}' } }),
});

function patch(netConf: string | null, backup: string | null): readonly string[] {
  return ['PATCH', PATH, JSON.stringify({ metadata: { annotations: { [BACKUP]: backup } }, data: { 'net-conf.json': netConf } })];
}

test('the configuration is changed with its backup beside it, then flannel is restarted node by node', () => {
  expect(moveFlannelPort.commands(params)).toEqual([patch(to, from), ROLL]);
});

test('when a node does not come back, the configuration from before is brought back, and flannel restarted with it', () => {
  expect(moveFlannelPort.onFailure?.(params)).toEqual([patch(from, null), ROLL]);
});

test('the card shows which lines change', () => {
  expect(moveFlannelPort.diff?.(params)).toBe(
    ['--- net-conf.json', '+++ net-conf.json', '-    "Type": "vxlan"', '+    "Type": "vxlan",', '+    "Port": 8475'].join('\n'),
  );
});

test.each([
  ['as it was found', stored(from), null],
  ['changed already', stored(to), 'net-conf.json in kube-flannel/kube-flannel-cfg is changed already'],
  ['changed otherwise', stored('{}'), 'net-conf.json in kube-flannel/kube-flannel-cfg was changed by somebody else'],
  ['gone', {}, 'net-conf.json in kube-flannel/kube-flannel-cfg is not there'],
])('a configuration that is %s', async (_, texts, obsolete) => {
  const state = await moveFlannelPort.read(params, fakeHost({}, texts).host);
  expect(moveFlannelPort.obsolete(params, state)).toBe(obsolete);
});

test('undoing brings back the text from before and what stood beside it', async () => {
  const prior = await moveFlannelPort.read(params, fakeHost({}, stored(from, { [BACKUP]: 'older', other: 'x' })).host);
  const after = await moveFlannelPort.read(params, fakeHost({}, stored(to, { [BACKUP]: from, other: 'x' })).host);
  expect(moveFlannelPort.undoCommands(params, prior, after)).toEqual([patch(from, 'older'), ROLL]);
});

test.each([{ from: 'no JSON' }, { to: '' }, { configMap: '../x' }, { namespace: 'a b' }, { daemonSet: 'x/y' }, { more: 'x' }])(
  'parameters that cannot be are refused: %j',
  (change) => {
    expect(moveFlannelPort.params.safeParse({ ...params, ...change }).success).toBe(false);
  },
);
