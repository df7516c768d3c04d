import { expect, test } from 'vitest';
import { restartKubeProxy } from './index.ts';

test('exactly that pod is deleted, and its successor waited for', () => {
  expect(restartKubeProxy.commands({ namespace: 'kube-system', pod: 'kube-proxy-1', uid: 'u1' })).toEqual([
    ['DELETE', '/api/v1/namespaces/kube-system/pods/kube-proxy-1', '{"preconditions":{"uid":"u1"}}'],
    ['WAIT', 'successor ready', '90s'],
  ]);
});
