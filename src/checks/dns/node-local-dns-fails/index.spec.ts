import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { nodeLocalDnsFails } from './index.ts';

const inCase = (name: string) => readCase('dns/node-local-dns-fails', name);
const ADDRESS = '169.254.20.10';
const CACHE = 'kube-system/node-local-dns-2';

const finding = {
  check: 'node-local-dns-fails',
  layer: 'DNS',
  entity: { kind: 'Node', name: 'node-2' },
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  at: [{ place: 'node/node-2', point: 'socket' }],
  harms: [{ dst: ADDRESS, dport: 53 }],
} as const;
const devices = (text: string) => ({ where: 'node-2', source: 'ip -j -d -s address show', text });
const status = (text: string) => ({ where: CACHE, source: 'Kubernetes API, status of the pod', text });

const told = (bundle: Bundle) => findingsIn(nodeLocalDnsFails, bundle).map(({ code, summary }) => `${code}: ${summary}`);

/** The case with pods of node-2, CoreDNS's there, that have the cache as resolver. */
const asking = (name: string) =>
  withReading(
    inCase(name),
    'pods: state',
    said((text) => text.replaceAll('"10.28.0.1"', `"${ADDRESS}"`)),
    'node-2',
  );

test('a cache on every node, each with its address: nothing is wrong', () => {
  expect(evaluated(nodeLocalDnsFails, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a cache that crashes', () => {
  expect(evaluated(nodeLocalDnsFails, inCase('down'))).toEqual({
    findings: [
      {
        ...finding,
        code: 'node-local-dns-down',
        summary: `the NodeLocal DNSCache ${CACHE} on node-2 is not ready (CrashLoopBackOff, 5 restarts)`,
        advice: `kubectl -n kube-system get pods -l k8s-app=node-local-dns -o wide, then the log of the one on node-2. Where kube-proxy uses iptables pods fall back to CoreDNS once the device is gone; where the kubelets name ${ADDRESS} (as with IPVS) they do not.`,
        evidence: [
          devices(`nodelocaldns holds ${ADDRESS}`),
          status('phase Running, ready false; node-cache waiting (CrashLoopBackOff), 5 restarts'),
        ],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a cache whose device is gone', () => {
  expect(evaluated(nodeLocalDnsFails, inCase('bypassed'))).toEqual({
    findings: [
      {
        ...finding,
        code: 'node-local-dns-bypassed',
        summary: `the NodeLocal DNSCache ${CACHE} on node-2 is ready, and no device there holds ${ADDRESS}: nothing reaches it`,
        advice: `Delete the pod ${CACHE}: it makes its device nodelocaldns and its rules when it starts. Then look what took the device away (a network manager, a script).`,
        evidence: [devices(`no device holds ${ADDRESS}`), status('phase Running, ready true; node-cache running, 0 restarts')],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a node without a cache is told where a pod there asks it; pods that do are named', () => {
  const without = (bundle: Bundle): Bundle => ({
    ...bundle,
    inventory: { ...bundle.inventory, pods: bundle.inventory.pods.filter(({ name }) => name !== 'node-local-dns-2') },
  });
  expect([inCase('healthy'), asking('healthy')].map((bundle) => told(without(bundle)))).toEqual([
    [],
    ['node-local-dns-down: no NodeLocal DNSCache runs on node-2; kube-system/coredns-2 has it as resolver'],
  ]);
  expect(told(asking('bypassed'))).toEqual([
    `node-local-dns-bypassed: the NodeLocal DNSCache ${CACHE} on node-2 is ready, and no device there holds ${ADDRESS}: nothing reaches it; kube-system/coredns-2 has it as resolver`,
  ]);
});

test('where no node holds the usual address, or there is no cache at all, nothing is known', () => {
  const other = withReading(inCase('bypassed'), 'address show', (item) => ({
    ...item,
    stdout: item.stdout.replaceAll(ADDRESS, '169.254.25.10'),
  }));
  const none = inCase('bypassed');
  const without: Bundle = { ...none, inventory: { ...none.inventory, pods: [] } };
  expect([other, without].flatMap(told)).toEqual([]);
});
