import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import { portRangesOverlap } from './index.ts';

const inCase = (name: string) => readCase('linux/port-ranges-overlap', name);
type Case = ReturnType<typeof inCase>;

const RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
const RESERVED = '/proc/sys/net/ipv4/ip_local_reserved_ports';
const common = {
  check: 'port-ranges-overlap',
  layer: 'L4',
  severity: 'warning',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  harms: [],
} as const;

const ranges = (bundle: Case, range: string, reserved = '') =>
  withReading(
    bundle,
    'ip_local_port_range',
    (item) => ({ ...item, stdout: `==> ${RANGE} <==\n${range.replace(' ', '\t')}\n==> ${RESERVED} <==\n${reserved}\n` }),
    'node-2',
  );

/** The case with flags of the container of one pod, an API server's. */
function withFlags(bundle: Case, flags: Record<string, string>): Case {
  const pods = bundle.inventory.pods.map((pod, index) =>
    index === 0 ? { ...pod, containers: pod.containers.map((container) => ({ ...container, flags })) } : pod,
  );
  return { ...bundle, inventory: { ...bundle.inventory, pods } };
}

const withImage = (image: string, flags?: Record<string, string>): Case => {
  const bundle = inCase('masquerade-agent');
  const pods = bundle.inventory.pods.map((pod) => ({
    ...pod,
    containers: pod.containers.map((container) =>
      container.name === 'ip-masq-agent' ? { ...container, image, ...(flags === undefined ? {} : { flags }) } : container,
    ),
  }));
  return { ...bundle, inventory: { ...bundle.inventory, pods } };
};

test('the default ranges are apart', () => {
  expect(evaluated(portRangesOverlap, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
  expect(evaluated(portRangesOverlap, ranges(inCase('local-ports'), '32768 60999'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('a range of local ports that begins below the NodePorts', () => {
  expect(findingsIn(portRangesOverlap, inCase('local-ports'))).toEqual([
    {
      ...common,
      code: 'local-ports-overlap-node-ports',
      at: [{ place: 'node/node-2', point: 'output' }],
      summary:
        'connections of node-2 get ports 15000 to 60999, which overlap those of NodePorts, 30000 to 32767 (1 Service has such ports)',
      advice: expect.stringMatching(/net\.ipv4\.ip_local_port_range/),
      evidence: [{ where: 'node-2', source: RANGE, text: '15000 60999' }],
      remedy: { id: 'set-local-port-range', node: 'node-2', params: { range: '32768 60999' } },
    },
  ]);
});

test.for([
  ['32767 60999', '', 1],
  ['32768 60999', '', 0],
  ['1024 29999', '', 0],
  ['1024 30000', '', 1],
  ['15000 60999', '30000-32767', 0],
  ['15000 60999', '30000-32766', 1],
  ['32000 60999', '8080,31000-33000', 0],
] as const)('local ports %s, of which reserved: %s', ([range, reserved, count]) => {
  expect(findingsIn(portRangesOverlap, ranges(inCase('local-ports'), range, reserved))).toHaveLength(count);
});

test('there is no range to offer where none is left above the NodePorts', () => {
  expect(findingsIn(portRangesOverlap, ranges(inCase('local-ports'), '20000 33000'))[0]?.remedy).toBeUndefined();
});

test.for([
  ['10000-14999', 0],
  ['15000-15999', 1],
  ['61000+500', 0],
  // those of the other nodes as well
  ['60000+500', 3],
] as const)("the API server's own range of NodePorts, %s", ([range, count]) => {
  expect(findingsIn(portRangesOverlap, withFlags(inCase('local-ports'), { 'service-node-port-range': range }))).toHaveLength(
    count,
  );
});

test('without a Service that has a NodePort no range means anything', () => {
  const { inventory, ...rest } = inCase('local-ports');
  const services = inventory.services.filter(({ type }) => type !== 'NodePort');
  expect(findingsIn(portRangesOverlap, { ...rest, inventory: { ...inventory, services } })).toEqual([]);
});

test('an ip-masq-agent that takes random ports', () => {
  expect(findingsIn(portRangesOverlap, inCase('masquerade-agent'))).toEqual([
    {
      ...common,
      code: 'masquerade-overlaps-node-ports',
      at: [{ place: 'node/node-2', point: 'postrouting' }],
      summary:
        'ip-masq-agent on node-2 translates connections to random ports, those of NodePorts, 30000 to 32767, among them (1 Service has such ports)',
      advice: expect.stringMatching(/--random-fully=false/),
      evidence: [
        {
          where: 'API server',
          source: 'pods',
          text: 'registry.k8s.io/networking/ip-masq-agent:v2.11.0 without --random-fully=false',
        },
      ],
    },
  ]);
});

test.for([
  ['registry.k8s.io/networking/ip-masq-agent:v2.9.3', undefined, 0],
  ['registry.k8s.io/networking/ip-masq-agent-amd64:v2.10.0', undefined, 1],
  ['gke.gcr.io/ip-masq-agent:2.12.3-gke.4@sha256:00', undefined, 1],
  ['gke.gcr.io/ip-masq-agent:2.12.3-gke.4', { 'random-fully': 'false' }, 0],
  ['gke.gcr.io/ip-masq-agent:2.12.3-gke.4', { 'random-fully': 'true' }, 1],
  ['example.com/not-ip-masq-agent:v3.0', undefined, 0],
  ['gke.gcr.io/ip-masq-agent@sha256:00', undefined, 0],
] as const)('%s with the flags %j', ([image, flags, count]) => {
  expect(findingsIn(portRangesOverlap, withImage(image, flags))).toHaveLength(count);
});

test('what cannot be read is unknown', () => {
  expect(evaluated(portRangesOverlap, ranges(inCase('healthy'), 'some ports')).gaps).toMatchObject([{ where: 'node-2' }]);
});
