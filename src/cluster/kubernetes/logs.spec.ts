import { expect, test } from 'vitest';
import { simulate } from '../../../test/simulate.ts';
import type { Container, Node, Pod } from '../../model/inventory.ts';
import type { ClusterResult } from '../port.ts';
import { readDnsLogs, reduceLog } from './logs.ts';

/** As CoreDNS 1.11 writes them; the first two with the address of a client's question and the name that it asked for. */
const LOG = `.:53
[INFO] plugin/reload: Running configuration SHA512 = 591cf328
[ERROR] plugin/errors: 2 payroll.corp.example. A: read udp 172.27.2.5:45678->192.0.2.53:53: i/o timeout
[ERROR] plugin/errors: 2 payroll.corp.example. AAAA: read udp 172.27.2.5:33210->192.0.2.53:53: i/o timeout
[ERROR] plugin/errors: 2 vpn.example. A: read udp 127.0.0.1:34567->127.0.0.53:53: read: connection refused
[INFO] 172.27.1.9:45901 - 4711 "A IN secret-name.default.svc.cluster.local. udp 58 false 512" NOERROR qr,aa,rd 114 0.000133s
[FATAL] plugin/loop: Loop (127.0.0.1:55953 -> :1053) detected for zone ".", see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO 4547991504243258144.3688648895315093531."
W1121 09:00:00.000000       1 reflector.go:547] pkg/mod/k8s.io/client-go@v0.29.3/tools/cache/reflector.go:229: failed to list *v1.Service: Get "https://172.26.0.1:443/api/v1/services?limit=500&resourceVersion=0": dial tcp 172.26.0.1:443: i/o timeout
[ERROR] plugin/errors: 2 token=abc. A: something else
`;

test('of a log only lines of known kinds are kept, each once, without names and changing ports', () => {
  expect(reduceLog(LOG)).toEqual([
    { text: 'plugin/errors: read udp 192.0.2.53:53: i/o timeout', count: 2 },
    { text: 'plugin/errors: read udp 127.0.0.53:53: read: connection refused', count: 1 },
    { text: 'plugin/loop: Loop (127.0.0.1 -> :1053) detected for zone "."', count: 1 },
    { text: 'plugin/kubernetes: dial tcp 172.26.0.1:443: i/o timeout', count: 1 },
  ]);
  expect(reduceLog('')).toEqual([]);
});

test('so many kinds and no more', () => {
  const lines = Array.from(
    { length: 30 },
    (_, n) => `[ERROR] plugin/errors: 2 a. A: read udp 1.1.1.1:1->192.0.2.${n}:53: i/o timeout`,
  );
  expect(reduceLog(lines.join('\n')).length).toBe(8);
});

const { inventory } = simulate(2);
const container: Container = {
  name: 'coredns',
  kind: 'container',
  id: null,
  image: '',
  state: 'running',
  reason: '',
  message: '',
  ready: true,
  restarts: 0,
  startedAt: null,
  last: null,
  readiness: null,
  liveness: null,
  startup: null,
  preStop: null,
};

/** The DNS pods, with their container changed; and what is read and asked for when the kubelets answer so. */
async function read(
  answer: (path: string) => ClusterResult<string>,
  change: (pod: Pod) => Partial<Container> = () => ({}),
  nodes: readonly Node[] = inventory.nodes,
) {
  const asked: string[] = [];
  const pods = inventory.pods.map((pod) => ({ ...pod, containers: [{ ...container, ...change(pod) }] }));
  const text = async (path: string): Promise<ClusterResult<string>> => {
    asked.push(path);
    return answer(path);
  };
  return { ...(await readDnsLogs({ text }, pods, nodes, new AbortController().signal)), asked };
}

const QUERY = 'container=coredns&tailLines=200&limitBytes=65536&sinceSeconds=3600';
const pathOf = (number: number): string => `/api/v1/namespaces/kube-system/pods/coredns-${number}/log?${QUERY}`;
const lines = [{ text: 'plugin/loop: Loop (127.0.0.1 -> :53) detected for zone "."', count: 1 }];
const LOOP = '[FATAL] plugin/loop: Loop (127.0.0.1:1 -> :53) detected for zone ".", see\n';

test('the logs of the DNS pods are asked for, bounded; a log that tells nothing is none', async () => {
  expect(await read((path) => ({ ok: true, value: path.includes('coredns-2') ? LOOP : 'CoreDNS-1.11.1\n' }))).toEqual({
    logs: [{ namespace: 'kube-system', pod: 'coredns-2', container: 'coredns', lines }],
    gaps: [],
    asked: [pathOf(1), pathOf(2)],
  });
});

test('a server that restarts is read first, one of which no container has run and another program not at all', async () => {
  const quiet = (): ClusterResult<string> => ({ ok: true, value: '' });
  expect((await read(quiet, ({ name }) => ({ restarts: name === 'coredns-2' ? 7 : 0 }))).asked).toEqual([pathOf(2), pathOf(1)]);
  expect((await read(quiet, () => ({ state: 'waiting' }))).asked).toEqual([]);
  expect((await read(quiet, () => ({ name: 'kubedns' }))).asked).toEqual([]);
});

test('what cannot be read is one gap; a pod that is gone, or has not begun, is none', async () => {
  const fail = (kind: 'forbidden' | 'not-found' | 'invalid', message: string) => (): ClusterResult<string> => ({
    ok: false,
    fault: { kind, message },
  });
  const gap = (reason: string) => [{ what: 'logs of the DNS pods', reason }];
  expect([
    (await read(fail('forbidden', 'pods "coredns-1" is forbidden'))).gaps,
    (await read(fail('not-found', 'pods "coredns-1" not found'))).gaps,
    (await read(fail('invalid', 'container "coredns" in pod "coredns-1" is waiting to start: ContainerCreating'))).gaps,
    (await read(fail('invalid', 'container coredns is not valid for pod coredns-1'))).gaps,
  ]).toEqual([
    gap('2 of 2: pods "coredns-1" is forbidden'),
    [],
    [],
    gap('2 of 2: container coredns is not valid for pod coredns-1'),
  ]);
});

test('a kubelet that is known to be silent is not waited for', async () => {
  const nodes = inventory.nodes.map((node) => (node.name === 'node-1' ? { ...node, ready: 'Unknown' as const } : node));
  const { asked, gaps } = await read(() => ({ ok: true, value: '' }), undefined, nodes);
  expect([asked, gaps]).toEqual([
    [pathOf(2)],
    [{ what: 'logs of the DNS pods', reason: '1 of 2: the kubelet of node-1 does not answer' }],
  ]);
});
