import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { Pod } from '../../../model/inventory.ts';
import { addressConflict } from './index.ts';

const inCase = (name: string) => readCase('linux/address-conflict', name);

const ASKED = "arping -D of the node's own address";
const TWIN = '00:50:56:9a:3f:01';
const IP = '10.28.87.60';

const whole = {
  check: 'address-conflict',
  code: 'address-conflict',
  layer: 'L2',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [{ place: 'node/node-3', point: 'neigh', dev: 'eth0', via: IP }],
  harms: [{ proto: 'icmp', state: 'established' }, { proto: 'tcp' }, { proto: 'udp' }],
  summary: `two machines answer for ${IP}: node-2's eth0 with 02:00:0a:1c:57:3c (locally administered, no vendor), and ${TWIN} (VMware, Inc.), which is neither a node nor a pod of this cluster; node-3 sends to the latter`,
  advice: `Look the address ${TWIN} up in the MAC address table of the switch: it names the port that the other machine is on. Take ${IP} from it, or from the range that it got it from.`,
  evidence: [
    { where: 'node-2', source: ASKED, text: `${IP} is answered for by ${TWIN}` },
    { where: 'node-2', source: 'ip -j -d -s address show', text: `eth0 ${IP} link/ether 02:00:0a:1c:57:3c` },
    { where: 'node-3', source: 'ip -j -s neighbour show', text: `${IP} dev eth0 lladdr ${TWIN} REACHABLE` },
  ],
} as const;

/** Somebody answers for a node's address, as arping prints it. */
const answered = (node: string, ip: string, mac: string) => (bundle: Bundle) =>
  withReading(
    bundle,
    ASKED,
    (item) => ({
      ...item,
      exitCode: 1,
      stdout: `ARPING ${ip} from 0.0.0.0 eth0\nUnicast reply from ${ip} [${mac.toUpperCase()}]  0.612ms\nSent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n`,
    }),
    node,
  );

test('where nobody else answers nothing is said', () => {
  expect(evaluated(addressConflict, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('the other machine is named by its address and maker, with who talks to it', () => {
  expect(findingsIn(addressConflict, inCase('one-peer-misled'))).toEqual([whole]);
});

test('where every peer has the right entry it may still turn: a suspicion on all of them', () => {
  const [finding] = findingsIn(addressConflict, answered('node-2', IP, TWIN)(inCase('healthy')));
  expect(finding).toEqual({
    ...whole,
    certainty: 'suspect',
    at: ['node-1', 'node-3'].map((node) => ({ place: `node/${node}`, point: 'neigh', via: IP })),
    // All of them are answered by the right machine.
    harms: ['icmp', 'tcp', 'udp'].map((proto) => ({ proto, state: 'established' })),
    summary: whole.summary.replace('; node-3 sends to the latter', ''),
    evidence: whole.evidence.slice(0, 2),
  });
});

test('an entry that went away while the check ran lost some packets only', () => {
  const bundle = withReading(
    inCase('one-peer-misled'),
    'neighbour show @after',
    said((stdout) => stdout.replace(TWIN, '02:00:0a:1c:57:3c')),
    'node-3',
  );
  expect(findingsIn(addressConflict, bundle)).toEqual([
    { ...whole, partial: true, summary: whole.summary.replace('node-3 sends', 'node-3 sent') },
  ]);
});

test('a machine of ours is named', () => {
  const node3 = '02:00:0a:1c:57:3d';
  const [byNode] = findingsIn(addressConflict, answered('node-2', IP, node3)(inCase('healthy')));
  expect(byNode?.summary).toMatch(/and 02:00:0a:1c:57:3d \(locally administered, no vendor\), which is node-3's eth0$/);
  expect(byNode?.advice).toBe(`Take ${IP} from node-3's eth0.`);
  const healthy = inCase('healthy');
  const pod = { ip: '172.27.3.4', mac: '0a:58:ac:1b:03:04' };
  const inventory = {
    ...healthy.inventory,
    pods: [
      Pod.parse({
        namespace: 'default',
        name: 'vm-1',
        uid: 'u1',
        node: 'node-3',
        ip: pod.ip,
        hostNetwork: false,
        phase: 'Running',
        ready: true,
        terminating: false,
        labels: {},
        owner: null,
        ports: [],
      }),
    ],
  };
  const [byPod] = findingsIn(addressConflict, answered('node-2', IP, pod.mac)({ ...healthy, inventory }));
  expect(byPod?.summary).toMatch(
    /and 0a:58:ac:1b:03:04 \(as CNI plugins make them for pods\), which is the pod default\/vm-1 on node-3$/,
  );
});

test('an answer from another card of the same node is none', () => {
  // cni0 of node-2.
  expect(findingsIn(addressConflict, answered('node-2', IP, '0a:58:ac:1b:02:01')(inCase('healthy')))).toEqual([]);
});

test('a foreign machine that answers for several nodes is a router', () => {
  const both = answered('node-3', '10.28.87.61', TWIN)(answered('node-2', IP, TWIN)(inCase('healthy')));
  expect(findingsIn(addressConflict, both)).toEqual([]);
});

test('a link without ARP has no conflicts, and that is no gap', () => {
  const bundle = withReading(inCase('healthy'), ASKED, (item) => ({
    ...item,
    exitCode: 2,
    stdout: '',
    stderr: 'Interface "tun0" is not ARPable\n',
  }));
  expect(evaluated(addressConflict, bundle)).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('without an answer of arping itself it is not known who else is there', () => {
  const bundle = withReading(
    inCase('healthy'),
    ASKED,
    said((stdout) => stdout.replace('Sent 1', 'Sent 0')),
    'node-1',
  );
  expect(evaluated(addressConflict, bundle).gaps).toEqual([
    { what: 'address-conflict', where: 'node-1', reason: expect.stringMatching(/no question was sent/) },
  ]);
});
