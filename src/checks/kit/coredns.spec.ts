import { expect, test } from 'vitest';
import { simulate } from '../../../test/simulate.ts';
import type { Pod } from '../../model/inventory.ts';
import { corednsPods, dnsService } from './coredns.ts';

const { inventory } = simulate(2);

function namesWith(change: Partial<Pod>): readonly string[] {
  const pods = inventory.pods.map((pod) => (pod.name === 'coredns-1' ? { ...pod, ...change } : pod));
  return corednsPods({ ...inventory, pods }).map(({ name }) => name);
}

test('DNS pods are those that run and have an address, ready or not', () => {
  expect(namesWith({})).toEqual(['coredns-1', 'coredns-2']);
  expect(namesWith({ ready: false })).toEqual(['coredns-1', 'coredns-2']);
});

test.for<Partial<Pod>>([
  { ip: null },
  { phase: 'Pending' },
  { terminating: true },
  { namespace: 'default' },
  { labels: { 'k8s-app': 'coredns' } },
])('a pod with %j is left out', (change) => {
  expect(namesWith(change)).toEqual(['coredns-2']);
});

test('the Service in front of them is kube-dns, with an address', () => {
  expect(dnsService(inventory)).toMatchObject({ namespace: 'kube-system', name: 'kube-dns', clusterIP: '172.26.0.10' });
  const headless = inventory.services.map((service) => ({ ...service, clusterIP: null }));
  expect([dnsService({ ...inventory, services: headless }), dnsService({ ...inventory, services: [] })]).toEqual([null, null]);
});
