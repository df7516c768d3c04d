import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { Node } from '../../../model/inventory.ts';
import { podCidrOverlap } from './index.ts';

const inCase = (name: string) => readCase('linux/pod-cidr-overlap', name);
const NOTHING = { findings: [], acquitted: [], gaps: [] };
const REST =
  'Then see that the range and the mask of the controller manager (--cluster-cidr, --node-cidr-mask-size) are what they were, and that only one of them hands out addresses.';

test('every node has addresses of its own', () => {
  expect(evaluated(podCidrOverlap, inCase('healthy'))).toEqual(NOTHING);
});

test('the addresses of one node are a part of those of another: a risk while everything answers', () => {
  expect(evaluated(podCidrOverlap, inCase('one-inside-another'))).toEqual({
    ...NOTHING,
    findings: [
      {
        check: 'pod-cidr-overlap',
        code: 'pod-cidr-overlap',
        layer: 'L3',
        severity: 'warning',
        certainty: 'suspect',
        partial: false,
        entity: { kind: 'Node', name: 'node-2' },
        at: ['node-1', 'node-2', 'node-3'].map((name) => ({ place: `node/${name}`, point: 'route' })),
        harms: [],
        summary: 'the podCIDR 172.27.2.0/24 of node-2 is a part of 172.27.2.0/23, which node-3 has',
        advice: `A podCIDR cannot be changed: drain one of the two, delete its Node object and let the node join again. ${REST}`,
        evidence: [
          { where: 'Kubernetes API', source: 'nodes/node-3', text: 'spec.podCIDRs: 172.27.2.0/23' },
          { where: 'Kubernetes API', source: 'nodes/node-2', text: 'spec.podCIDRs: 172.27.2.0/24' },
        ],
      },
    ],
  });
});

test('it explains addresses in what both have that answer nobody, and no others', () => {
  const bundle = inCase('one-inside-another');
  // The pods of every lab of three nodes have the same addresses.
  const probes = readCase('mesh/path-mtu-black-hole', 'healthy');
  const silent = { status: 'fail', sent: 3, delivered: 0, how: 'timeout' } as const;
  const told = (...patterns: readonly RegExp[]) =>
    findingsIn(podCidrOverlap, bundle, probedOtherwise(probes, ...patterns.map((pattern) => [pattern, silent] as const)))[0]
      ?.harms;
  expect(told(/netcheck-probe-2/)).toEqual([{ dst: '172.27.2.4' }]);
  expect(told(/netcheck-probe-1 > .*netcheck-probe-2/)).toEqual([]);
  expect(told(/netcheck-probe-1/)).toEqual([]);
});

/** The healthy cluster with other podCIDRs or readiness of some nodes. */
function changed(changes: Readonly<Record<string, Partial<Node>>>): Bundle {
  const bundle = inCase('healthy');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, ...changes[node.name] }));
  return { ...bundle, inventory: { ...bundle.inventory, nodes } };
}

test('the same addresses: a node that is not ready is the one to go', () => {
  expect(findingsIn(podCidrOverlap, changed({ 'node-1': { ready: 'Unknown', podCIDRs: ['172.27.2.0/24'] } }))).toMatchObject([
    {
      entity: { name: 'node-1' },
      summary: 'node-1 and node-2 have the same podCIDR 172.27.2.0/24',
      advice: `A podCIDR cannot be changed: drain node-1, delete its Node object and let the node join again (it is not ready: if the machine is gone, kubectl delete node node-1 is enough). ${REST}`,
    },
  ]);
});

test('both families of a node are its own; each family is compared for itself', () => {
  const dual = (index: number) => ({ podCIDRs: [`172.27.${index}.0/24`, `fd00:0:0:${index}::/64`] });
  expect(findingsIn(podCidrOverlap, changed({ 'node-1': dual(1), 'node-2': dual(2), 'node-3': { podCIDRs: [] } }))).toEqual([]);
  expect(
    findingsIn(podCidrOverlap, changed({ 'node-1': dual(1), 'node-2': { podCIDRs: ['172.27.2.0/24', 'fd00::/48'] } })).map(
      ({ summary }) => summary,
    ),
  ).toEqual(['the podCIDR fd00:0:0:1::/64 of node-1 is a part of fd00::/48, which node-2 has']);
});
