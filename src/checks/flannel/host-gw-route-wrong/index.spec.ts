import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { hostGwRouteWrong } from './index.ts';

const inCase = (name: string) => readCase('flannel/host-gw-route-wrong', name);

test('healthy', () => {
  expect(evaluated(hostGwRouteWrong, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('peer off link', () => {
  expect(evaluated(hostGwRouteWrong, inCase('peer-off-link'))).toEqual({
    findings: [
      {
        check: 'host-gw-route-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'eth0 10.28.87.60/32, cni0 172.27.2.1/24',
          },
          {
            where: 'node-2',
            source: 'ip -j route show table all',
            text: 'node-1: 172.27.1.0/24 missing; should be via 10.28.87.59',
          },
          {
            where: 'node-2',
            source: 'ip -j route show table all',
            text: 'node-3: 172.27.3.0/24 missing; should be via 10.28.87.61',
          },
        ],
        code: 'host-gw-peer-off-link',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'route',
          },
        ],
        harms: [
          {
            dst: '172.27.1.0/24',
          },
          {
            dst: '172.27.3.0/24',
          },
        ],
        summary: "node-1, node-3 are not on a link of node-2: flannel's host-gw cannot route to their pods",
        advice:
          "host-gw works only between nodes of one layer 2 network. Use flannel's vxlan backend (with DirectRouting where nodes share a link), or have the routers between them carry the podCIDRs. Where they should share a link, correct the prefix of the address of node-2.",
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('route missing', () => {
  expect(evaluated(hostGwRouteWrong, inCase('route-missing'))).toEqual({
    findings: [
      {
        check: 'host-gw-route-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: 'ip -j route show table all',
            text: 'node-3: 172.27.3.0/24 missing; should be via 10.28.87.61',
          },
        ],
        code: 'host-gw-route-wrong',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'route',
          },
        ],
        harms: [
          {
            dst: '172.27.3.0/24',
          },
        ],
        summary: 'node-2 has no route to the pods of node-3',
        advice: 'Restart flannel on node-2: it writes all of its routes again.',
        remedy: {
          id: 'restart-flannel',
          node: 'node-2',
          params: {
            namespace: 'kube-flannel',
            pod: 'kube-flannel-ds-2',
            uid: expect.any(String),
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

/** Changes the node's route to node-3. */
const rerouted = (change: string) =>
  withReading(
    inCase('healthy'),
    'route show',
    said((stdout) => stdout.replace('{"dst":"172.27.3.0/24","gateway":"10.28.87.61","dev":"eth0","flags":[]}', change)),
    'node-2',
  );

test.for<[string, string]>([
  ['{"type":"blackhole","dst":"172.27.3.0/24","flags":[]}', 'blackhole via - dev -'],
  ['{"dst":"172.27.3.0/24","gateway":"10.28.0.1","dev":"eth0","flags":[]}', 'via 10.28.0.1 dev eth0'],
])('a route that leads elsewhere: %s', ([change, is]) => {
  expect(findingsIn(hostGwRouteWrong, rerouted(change))).toMatchObject([
    {
      code: 'host-gw-route-wrong',
      summary: 'node-2 has a wrong route to the pods of node-3',
      evidence: [{ text: `node-3: 172.27.3.0/24 ${is}; should be via 10.28.87.61` }],
    },
  ]);
});

test('another route for the same pods is no fault as long as the right one is there', () => {
  const both =
    '{"dst":"172.27.3.0/24","gateway":"10.28.87.61","dev":"eth0","flags":[]},{"type":"unreachable","dst":"172.27.3.0/24","metric":4096,"flags":[]}';
  expect(findingsIn(hostGwRouteWrong, rerouted(both))).toEqual([]);
});

test('a cluster with another backend has nothing to judge', () => {
  const bundle = inCase('route-missing');
  const nodes = bundle.inventory.nodes.map((node) => ({
    ...node,
    annotations: { ...node.annotations, 'flannel.alpha.coreos.com/backend-type': 'vxlan' },
  }));
  const other: Bundle = { ...bundle, inventory: { ...bundle.inventory, nodes } };
  expect(findingsIn(hostGwRouteWrong, other)).toEqual([]);
});
