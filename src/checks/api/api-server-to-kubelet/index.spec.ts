import { expect, test } from 'vitest';
import { type ContextChange, plannedLines } from '../../../../test/probe-context.ts';
import { apiServerToKubelet } from './index.ts';

const line = (to: number) =>
  `api-server-to-kubelet exec the API server 10.28.0.2 > node-${to} 10.28.0.1${to}: L4, from 10.28.0.2 of node-${to}, port 10250, on node-${to}, 1 packets`;

test('the API server to the kubelet of every node, whether its agent answers or not', () => {
  expect(plannedLines(apiServerToKubelet)).toEqual([line(1), line(2)]);
  expect(plannedLines(apiServerToKubelet, { node: (node) => ({ ...node, answers: false }) })).toEqual([line(1), line(2)]);
});

/** The addresses at which the API server is said to be ready. */
const servers = (...ips: readonly string[]): ContextChange => ({
  inventory: (inventory) => ({
    ...inventory,
    endpoints: inventory.endpoints.flatMap((endpoint) =>
      endpoint.service === 'kubernetes' ? ips.map((ip) => ({ ...endpoint, ip })) : [endpoint],
    ),
  }),
});

test('a node that the API server itself runs on is on no way', () => {
  expect(plannedLines(apiServerToKubelet, servers('10.28.0.11', '10.28.0.12'))).toEqual([
    line(2).replaceAll('10.28.0.2 ', '10.28.0.11 '),
  ]);
});

test('without a known API server nothing is told', () => {
  expect(plannedLines(apiServerToKubelet, servers())).toEqual([]);
});
