import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { cloudDropsPods } from './index.ts';

const inCase = (name: string) => readCase('cloud/cloud-drops-pods', name);

test('healthy', () => {
  expect(evaluated(cloudDropsPods, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('route missing', () => {
  expect(evaluated(cloudDropsPods, inCase('route-missing'))).toEqual({
    findings: [
      {
        check: 'cloud-drops-pods',
        layer: 'L3',
        severity: 'critical',
        certainty: 'inferred',
        partial: false,
        evidence: [
          {
            where: 'node-1',
            source: 'node-to-pod-network udp node-1 > node-2 172.27.2.1',
            text: '0 of 20 arrived',
          },
          {
            where: 'node-3',
            source: 'node-to-pod-network udp node-3 > node-2 172.27.2.1',
            text: '0 of 20 arrived',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-2, spec.providerID',
            text: 'instance node-2 (Google Cloud, project netcheck-lab, zone europe-west1-b)',
          },
        ],
        code: 'cloud-route-missing',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'port',
            dir: 'in',
          },
        ],
        harms: [
          {
            dst: '172.27.2.0/24',
          },
        ],
        summary:
          'the network between the nodes does not deliver packets for the pods of node-2 (172.27.2.0/24): they leave the other nodes and never arrive, while the nodes themselves are reached',
        advice:
          'Nothing on the nodes drops them: this is for whoever runs the network. Ask for a route for 172.27.2.0/24 to 10.28.87.60 in the routes of the VPC (gcloud compute routes list), or the alias range of the instance; security groups and ACLs must let the pod addresses through as well. The cloud controller manager (route controller) writes such routes: its log says why one is missing.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('source check', () => {
  expect(evaluated(cloudDropsPods, inCase('source-check'))).toEqual({
    findings: [
      {
        check: 'cloud-drops-pods',
        layer: 'L3',
        severity: 'critical',
        certainty: 'inferred',
        partial: false,
        evidence: [
          {
            where: 'node-1',
            source: 'node-to-pod-network udp node-1 > node-2 172.27.2.1',
            text: '0 of 20 arrived',
          },
          {
            where: 'node-3',
            source: 'node-to-pod-network udp node-3 > node-2 172.27.2.1',
            text: '0 of 20 arrived',
          },
          {
            where: 'node-2',
            source: 'pod-to-pod udp netcheck-agents/netcheck-probe-2 > netcheck-agents/netcheck-probe-1 172.27.1.4 x10',
            text: '0 of 10 arrived',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-2, spec.providerID',
            text: 'instance node-2 (Google Cloud, project netcheck-lab, zone europe-west1-b)',
          },
        ],
        code: 'cloud-source-check',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'port',
            dir: 'in',
          },
          {
            place: 'node/node-2',
            point: 'port',
            dir: 'out',
          },
        ],
        harms: [
          {
            dst: '172.27.2.0/24',
          },
          {
            src: '172.27.2.0/24',
          },
        ],
        summary:
          'the network between the nodes drops what has an address of the pods of node-2 (172.27.2.0/24), both ways: it leaves one node and never arrives, while packets of the nodes themselves do',
        advice:
          'Nothing on the nodes drops them: this is for whoever runs the network. Ask for canIpForward of the instance, and a route for 172.27.2.0/24 to 10.28.87.60 in the routes of the VPC (gcloud compute routes list), or the alias range of the instance; security groups and ACLs must let the pod addresses through as well. The cloud controller manager (route controller) writes such routes: its log says why one is missing.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const codesOf = (bundle: Bundle, probed?: Parameters<typeof findingsIn>[2]) =>
  findingsIn(cloudDropsPods, bundle, probed).map(({ code, at, harms }) => ({ code, at, harms }));
const PORT = { place: 'node/node-2', point: 'port' };

test('where nothing was measured one way, only that nobody gets an answer is known', () => {
  const bundle = inCase('route-missing');
  const unmeasured = [/ udp /, { status: 'unknown' }] as const;
  expect(codesOf(bundle, probedOtherwise(bundle, unmeasured))).toEqual([
    { code: 'cloud-route-missing', at: [{ ...PORT, dir: 'in' }], harms: [{ dst: '172.27.2.0/24' }] },
  ]);
});

test.for<[string, Parameters<typeof probedOtherwise>[1]]>([
  ['an answer of one pod', [/^pod-to-pod ping .*probe-1 > .*probe-2/, { status: 'pass', delivered: 20, how: 'ok' }]],
  ['nodes that do not reach each other either', [/^node-to-node /, { status: 'fail', delivered: 0, how: 'timeout' }]],
])('%s clears the network', ([, change]) => {
  const bundle = inCase('route-missing');
  expect(codesOf(bundle, probedOtherwise(bundle, change))).toEqual([]);
});

test('where most nodes are concerned it is one fault of the network', () => {
  const bundle = inCase('route-missing');
  const all = [/^(node-to-pod-network udp|pod-to-pod)/, { status: 'fail', delivered: 0, how: 'timeout' }] as const;
  expect(findingsIn(cloudDropsPods, bundle, probedOtherwise(bundle, all))).toMatchObject([
    {
      code: 'cloud-route-missing',
      harms: [{ dst: '172.27.1.0/24' }, { dst: '172.27.2.0/24' }, { dst: '172.27.3.0/24' }],
      summary: expect.stringContaining('node-1, node-2, node-3 (172.27.1.0/24, 172.27.2.0/24, 172.27.3.0/24)'),
    },
  ]);
});

const TUNNEL =
  '{"ifname":"flannel.1","flags":["UP"],"mtu":1450,"operstate":"UNKNOWN","linkinfo":{"info_kind":"vxlan","info_data":{"id":1}}}';

test('through a tunnel nobody on the way sees the addresses of pods', () => {
  const bundle = withReading(
    inCase('route-missing'),
    'address show',
    said((stdout) => stdout.replace(/\]\s*$/, `,${TUNNEL}]`)),
    'node-1',
  );
  expect(codesOf(bundle)).toEqual([]);
});

test('of a machine that no cloud is known of, it is said in general words', () => {
  const bundle = inCase('source-check');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, providerID: null }));
  const [finding] = findingsIn(cloudDropsPods, { ...bundle, inventory: { ...bundle.inventory, nodes } });
  expect(finding?.advice).toContain('the source/destination check or port security of the machine');
});
