import { expect, test } from 'vitest';
import { type ContextChange, denyAll, plannedLines } from '../../../../test/probe-context.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { apiServerToWebhook } from './index.ts';

type Change = (inventory: Inventory) => Partial<Inventory>;

/** node-1 has an API server; a webhook is called through the Service `hook`, whose endpoint is CoreDNS's pod on node-2. */
function withWebhook(change: Change = () => ({})): ContextChange {
  return {
    inventory: (plain) => {
      const pod = plain.pods.find(({ labels, node }) => labels['k8s-app'] === 'kube-dns' && node === 'node-2');
      const [server] = plain.nodes;
      if (pod?.ip == null || server?.ip == null) throw new Error('the cluster lacks a pod');
      const common = { namespace: pod.namespace, serving: true, terminating: false, ready: true };
      const inventory: Inventory = {
        ...plain,
        services: [
          ...plain.services,
          {
            namespace: pod.namespace,
            name: 'hook',
            type: 'ClusterIP',
            clusterIP: '172.26.0.77',
            selector: {},
            ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 9443 }],
          },
        ],
        endpoints: [
          ...plain.endpoints,
          { ...common, namespace: 'default', service: 'kubernetes', ip: server.ip, ports: [], node: null, pod: null },
          {
            ...common,
            service: 'hook',
            ip: pod.ip,
            ports: [{ name: 'https', port: 9443, protocol: 'TCP' }],
            node: 'node-2',
            pod: pod.name,
          },
        ],
        webhooks: ['a.example.com', 'b.example.com'].map((name) => ({
          kind: 'validating',
          configuration: 'policy',
          name,
          service: { namespace: pod.namespace, name: 'hook', port: 443 },
          host: null,
          failurePolicy: 'Fail',
          timeoutSeconds: 10,
        })),
      };
      return { ...inventory, ...change(inventory) };
    },
  };
}

const SERVICE =
  'api-server-to-webhook tls node-1 > kube-system/hook 172.26.0.77: L7, from 10.28.0.11 of node-1, port 443, anywhere, 3 packets, for hook.kube-system.svc';
const direct = (from: number) =>
  `api-server-to-webhook tls node-${from} > kube-system/coredns-2 172.27.2.5: L7, from 10.28.0.1${from} of node-${from}, port 9443, on node-2, 3 packets, for hook.kube-system.svc`;

test('through the Service and directly from where an API server runs, and from the endpoint’s own node', () => {
  expect(plannedLines(apiServerToWebhook, withWebhook())).toEqual([SERVICE, direct(1), direct(2)]);
});

test('an API server may listen on another address of its node', () => {
  const change = withWebhook(({ endpoints }) => ({
    endpoints: endpoints.map((one) => (one.service === 'kubernetes' ? { ...one, ip: '192.0.2.1' } : one)),
  }));
  expect(plannedLines(apiServerToWebhook, change)).toEqual([]);
  const known = {
    ...change,
    node: (one: Parameters<NonNullable<ContextChange['node']>>[0]) =>
      one.node.name === 'node-1' ? { ...one, addresses: ['10.28.0.11', '192.0.2.1'] } : one,
  };
  expect(plannedLines(apiServerToWebhook, known)).toEqual([SERVICE, direct(1), direct(2)]);
});

test('nothing without webhooks, without an endpoint that is ready, without the Service or its port', () => {
  const without: readonly Change[] = [
    () => ({ webhooks: [] }),
    ({ webhooks }) => ({ webhooks: webhooks.map((webhook) => ({ ...webhook, service: null, host: 'hooks.example.com' })) }),
    ({ endpoints }) => ({ endpoints: endpoints.map((one) => ({ ...one, ready: one.service === 'kubernetes' })) }),
    ({ services }) => ({ services: services.filter(({ name }) => name !== 'hook') }),
    ({ services }) => ({
      services: services.map((service) => ({ ...service, ports: service.ports.map((port) => ({ ...port, port: 8443 })) })),
    }),
  ];
  expect(without.map((change) => plannedLines(apiServerToWebhook, withWebhook(change)))).toEqual(without.map(() => []));
});

test('what a policy keeps the API server from is expected to fail, and what the own node asks is not', () => {
  const change = withWebhook(() => ({ policies: [denyAll('kube-system', 'ingress')] }));
  expect(plannedLines(apiServerToWebhook, change)).toEqual([
    ...[SERVICE, direct(1)].map((line) => `${line}, denied by kube-system/deny-all`),
    direct(2),
  ]);
});
