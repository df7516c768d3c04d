import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { restartFlannel } from './index.ts';

const params = { namespace: 'kube-flannel', pod: 'kube-flannel-ds-x7k2p', uid: '1b3c' };
const PATH = '/api/v1/namespaces/kube-flannel/pods/kube-flannel-ds-x7k2p';
const pod = (metadata: object): Record<string, string> => ({ [PATH]: JSON.stringify({ metadata }) });

test('exactly that pod is deleted, and its successor waited for', () => {
  expect(restartFlannel.commands(params)).toEqual([
    ['DELETE', PATH, '{"preconditions":{"uid":"1b3c"}}'],
    ['WAIT', 'successor ready', '90s'],
  ]);
});

test.each([
  ['as it was found', pod({ uid: '1b3c' }), null],
  ['another of that name', pod({ uid: '9' }), 'the pod kube-flannel/kube-flannel-ds-x7k2p has been replaced since'],
  [
    'being deleted',
    pod({ uid: '1b3c', deletionTimestamp: '2026-11-21T09:00:00Z' }),
    'the pod kube-flannel/kube-flannel-ds-x7k2p has been deleted since',
  ],
  ['gone', {}, 'the pod kube-flannel/kube-flannel-ds-x7k2p has been deleted since'],
])('a pod that is %s', async (_, texts, obsolete) => {
  const state = await restartFlannel.read(params, fakeHost({}, texts).host);
  expect(restartFlannel.obsolete(params, state)).toBe(obsolete);
});

test.each([
  ['namespace', '../kube-system'],
  ['namespace', ''],
  ['pod', 'a/b'],
  ['pod', 'x?dryRun=All'],
  ['uid', '1b3c" }'],
])('%s %j is not the name of an object', (field, value) => {
  expect(restartFlannel.params.safeParse({ ...params, [field]: value }).success).toBe(false);
});
