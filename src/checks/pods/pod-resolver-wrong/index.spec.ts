import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod, withPodNamespace } from '../../../../test/fixtures.ts';
import { podResolverWrong } from './index.ts';

const inCase = (name: string) => readCase('pods/pod-resolver-wrong', name);

test('every pod asks the DNS of the cluster', () => {
  expect(evaluated(podResolverWrong, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a named pod on the network of its node', () => {
  expect(evaluated(podResolverWrong, inCase('host-network'))).toEqual({
    findings: [
      {
        check: 'pod-resolver-wrong',
        layer: 'DNS',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Pod kube-system/kube-proxy-2, spec',
            text: 'hostNetwork true, dnsPolicy ClusterFirst',
          },
        ],
        code: 'host-network-dns-policy',
        entity: { kind: 'Pod', namespace: 'kube-system', name: 'kube-proxy-2' },
        at: [],
        harms: [],
        summary:
          'the pod kube-system/kube-proxy-2 uses the network of node-2 with dnsPolicy ClusterFirst, which means Default there: it asks the name servers of the node, and names of Services do not resolve in it',
        advice: 'If it has to resolve names of Services, set dnsPolicy: ClusterFirstWithHostNet.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('another name server', () => {
  expect(evaluated(podResolverWrong, inCase('name-server'))).toEqual({
    findings: [
      {
        check: 'pod-resolver-wrong',
        layer: 'DNS',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/etc/resolv.conf of default/web-2 (process 20)',
            text: 'nameserver 10.28.0.1; search default.svc.cluster.local svc.cluster.local cluster.local; options ndots:5',
          },
        ],
        entity: { kind: 'Pod', namespace: 'default', name: 'web-2' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [],
        code: 'pod-nameserver-wrong',
        summary: 'resolv.conf in default/web-2 on node-2 names the name server 10.28.0.1; other pods ask 172.26.0.10',
        advice:
          'The kubelet writes this file when a pod is made: compare its clusterDNS and clusterDomain on this node with those of the others, then delete the pod so that it gets a new one. Or a mount or the image replaces it.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('other search domains', () => {
  expect(evaluated(podResolverWrong, inCase('search'))).toEqual({
    findings: [
      {
        check: 'pod-resolver-wrong',
        layer: 'DNS',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/etc/resolv.conf of default/web-2 (process 20)',
            text: 'nameserver 172.26.0.10; search example.com; options ndots:5',
          },
        ],
        entity: { kind: 'Pod', namespace: 'default', name: 'web-2' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [],
        code: 'pod-search-wrong',
        summary:
          'resolv.conf in default/web-2 on node-2 does not search default.svc (it has example.com): short names of Services do not resolve',
        advice:
          'The kubelet writes this file when a pod is made: compare its clusterDNS and clusterDomain on this node with those of the others, then delete the pod so that it gets a new one. Or a mount or the image replaces it.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const WEB = '172.27.2.2';
const found = (bundle: ReturnType<typeof inCase>) => findingsIn(podResolverWrong, bundle).map(({ code }) => code);
const asking = (...nameservers: string[]) =>
  withPodNamespace(inCase('healthy'), WEB, (namespace) => ({
    ...namespace,
    resolv: { searches: namespace.resolv?.searches ?? [], options: [], nameservers },
  }));

test.for([['169.254.20.10'], ['10.28.87.60'], ['192.0.2.1', '172.26.0.10']])('right is %s as well', (nameservers) => {
  expect(found(asking(...nameservers))).toEqual([]);
});

test('no name server at all', () => {
  expect(findingsIn(podResolverWrong, asking()).map(({ summary }) => summary)).toEqual([
    'resolv.conf in default/web-2 on node-2 names no name server; other pods ask 172.26.0.10',
  ]);
});

test.for(['Default', 'None', 'ClusterFirstWithHostNet'])('dnsPolicy %s is no promise', (dnsPolicy) => {
  expect(found(withPod(inCase('name-server'), 'web-2', { dnsPolicy }))).toEqual([]);
});

test('a pod without the file says nothing', () => {
  expect(found(withPodNamespace(inCase('name-server'), WEB, (namespace) => ({ ...namespace, resolv: null })))).toEqual([]);
});

test('what hardly any pod has is not meant to be; several pods of a node are one finding', () => {
  const change = (ips: readonly string[]) =>
    ips.reduce(
      (bundle, ip) =>
        withPodNamespace(
          bundle,
          ip,
          (namespace) => ({ ...namespace, resolv: { nameservers: ['192.0.2.1'], searches: ['example.com'], options: [] } }),
          `node-${ip.split('.')[2]}`,
        ),
      inCase('healthy'),
    );
  const all = [1, 2, 3].map((node) => [2, 3, 4].map((pod) => `172.27.${node}.${pod}`));
  expect(found(change(all.slice(0, 2).flat()))).toEqual([]);
  expect(
    findingsIn(podResolverWrong, change(all[1] ?? [])).map(({ code, entity, summary }) => ({ code, entity, summary })),
  ).toEqual([
    {
      code: 'pod-nameserver-wrong',
      entity: { kind: 'Node', name: 'node-2' },
      summary:
        'resolv.conf in default/client-2, default/web-2, netcheck-agents/netcheck-probe-2 on node-2 names the name server 192.0.2.1; other pods ask 172.26.0.10',
    },
    {
      code: 'pod-search-wrong',
      entity: { kind: 'Node', name: 'node-2' },
      summary:
        'resolv.conf in default/client-2, default/web-2, netcheck-agents/netcheck-probe-2 on node-2 does not search default.svc (it has example.com): short names of Services do not resolve',
    },
  ]);
});

test('a pod on the network of its node is told only when it was named, and not when it asked for the cluster', () => {
  expect(findingsIn(podResolverWrong, inCase('host-network'), [])).toEqual([]);
  expect(found(withPod(inCase('host-network'), 'kube-proxy-2', { dnsPolicy: 'ClusterFirstWithHostNet' }))).toEqual([]);
});
