import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { restartFlannelOnNodes } from './index.ts';

const params = { namespace: 'kube-flannel', pods: 'flannel-a=u1,flannel-b=u2' };
const path = (pod: string): string => `/api/v1/namespaces/kube-flannel/pods/${pod}`;
const pods = (uids: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(uids).map(([pod, uid]) => [path(pod), JSON.stringify({ metadata: { uid } })]));

test('exactly these pods are deleted, each when the one before it has come back', () => {
  expect(restartFlannelOnNodes.commands(params)).toEqual([
    ['DELETE', path('flannel-a'), '{"preconditions":{"uid":"u1"}}'],
    ['WAIT', 'successor ready', '90s'],
    ['DELETE', path('flannel-b'), '{"preconditions":{"uid":"u2"}}'],
    ['WAIT', 'successor ready', '90s'],
  ]);
});

test.each([
  [pods({ 'flannel-a': 'u1', 'flannel-b': 'u2' }), null],
  [pods({ 'flannel-a': 'u1', 'flannel-b': 'u9' }), 'the pod kube-flannel/flannel-b has been replaced since'],
  [pods({ 'flannel-b': 'u2' }), 'the pod kube-flannel/flannel-a has been deleted since'],
])('with %j: %s', async (texts, obsolete) => {
  const state = await restartFlannelOnNodes.read(params, fakeHost({}, texts).host);
  expect(restartFlannelOnNodes.obsolete(params, state)).toBe(obsolete);
});

test.each(['', 'flannel-a', 'flannel-a=', '../x=u1', 'flannel-a=u1,', 'flannel-a=u1 flannel-b=u2'])(
  '%j does not name pods with their uids',
  (text) => {
    expect(restartFlannelOnNodes.params.safeParse({ ...params, pods: text }).success).toBe(false);
  },
);
