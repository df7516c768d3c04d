import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { Pod } from '../../../model/inventory.ts';
import { neighbourTableFull } from './index.ts';

const inCase = (name: string) => readCase('linux/neighbour-table-full', name);

const TABLE = 'ip -j -s ntable show name arp_cache';
const NEIGHBOURS = 'ip -j -s neighbour show';
const [NODE_1, NODE_3] = ['10.28.87.59', '10.28.87.61'];

const shared = {
  check: 'neighbour-table-full',
  layer: 'L2',
  entity: { kind: 'Node', name: 'node-2' },
  remedy: {
    id: 'raise-neighbour-limits',
    node: 'node-2',
    params: { thresh1: '1024', thresh2: '2048', thresh3: '4096' },
  },
} as const;

const refused = {
  ...shared,
  code: 'neighbour-table-full',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  at: [{ place: 'node/node-2', point: 'neigh', via: NODE_3 }],
  harms: [{}],
  summary:
    'the neighbour table of node-2 is full: the kernel refused 5716 new entries while this check ran (1024 entries, at most 1024)',
  advice:
    'Raise the limits as the remedy does, and find out what fills the table: ip -4 neighbour | awk \'{print $NF}\' | sort | uniq -c. The kernel says "neighbor table overflow!" in its log for each.',
  evidence: [
    {
      where: 'node-2',
      source: TABLE,
      text: '1024 entries (gc_thresh2 512, gc_thresh3 1024); refused 8092 → 13808, forced collections 8140 → 13895',
    },
  ],
} as const;

/** The neighbours after the sweep, as they were before it: without the entry for node-3. */
function withoutNode3(bundle: Bundle): Bundle {
  const before = bundle.evidence[0]?.items[`node: ${NEIGHBOURS} @before`]?.stdout ?? '';
  return withReading(
    bundle,
    `${NEIGHBOURS} @after`,
    said(() => before),
  );
}

test('a table with room says nothing', () => {
  expect(evaluated(neighbourTableFull, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('refused entries harm the ways to those that have none', () => {
  expect(findingsIn(neighbourTableFull, withoutNode3(inCase('refused')))).toEqual([refused]);
});

test('with an entry for everybody by the end, some packets were lost', () => {
  expect(findingsIn(neighbourTableFull, inCase('refused'))).toEqual([
    { ...refused, at: [{ place: 'node/node-2', point: 'neigh' }], partial: true },
  ]);
});

test('pods of the node need an entry too', () => {
  const bundle = inCase('refused');
  const pod = (name: string, node: string, ip: string, hostNetwork = false) =>
    Pod.parse({
      namespace: 'default',
      name,
      uid: name,
      node,
      ip,
      hostNetwork,
      phase: 'Running',
      ready: true,
      terminating: false,
      labels: {},
      owner: null,
      ports: [],
    });
  const pods = [
    pod('web-1', 'node-1', '172.27.1.2'),
    pod('web-2', 'node-2', '172.27.2.2'),
    pod('agent-2', 'node-2', '10.28.87.60', true),
  ];
  const [finding] = findingsIn(neighbourTableFull, { ...bundle, inventory: { ...bundle.inventory, pods } });
  expect(finding?.at).toEqual([{ place: 'node/node-2', point: 'neigh', via: '172.27.2.2' }]);
});

test('above the soft limit the kernel throws entries out: a suspicion', () => {
  expect(findingsIn(neighbourTableFull, inCase('pressure'))).toEqual([
    {
      ...shared,
      code: 'neighbour-table-pressure',
      severity: 'warning',
      certainty: 'suspect',
      partial: true,
      at: [{ place: 'node/node-2', point: 'neigh' }],
      harms: [{}],
      summary:
        'the neighbour table of node-2 is above its soft limit of 512 entries (gc_thresh2): the kernel threw entries out once while this check ran',
      advice: 'Beyond 1024 entries (gc_thresh3) it takes no new ones in. Raise the limits before that.',
      evidence: [
        {
          where: 'node-2',
          source: TABLE,
          text: '607 entries (gc_thresh2 512, gc_thresh3 1024); refused 0 → 0, forced collections 1 → 2',
        },
      ],
    },
  ]);
});

test('what happened before the run says nothing', () => {
  const calm = withReading(
    inCase('refused'),
    `${TABLE} @after`,
    said((stdout) =>
      stdout.replace('"forced_gc_runs":13895', '"forced_gc_runs":8140').replace('"table_fulls":13808', '"table_fulls":8092'),
    ),
  );
  expect(findingsIn(neighbourTableFull, calm)).toEqual([]);
});

test('a tenth of the table that waits for an answer is a risk, and harms nobody yet', () => {
  const [finding, ...others] = findingsIn(neighbourTableFull, inCase('unresolved'));
  expect(others).toEqual([]);
  expect(finding).toEqual({
    check: 'neighbour-table-full',
    code: 'neighbours-unresolved',
    layer: 'L2',
    severity: 'warning',
    certainty: 'certain',
    partial: false,
    entity: { kind: 'Node', name: 'node-2' },
    at: [{ place: 'node/node-2', point: 'neigh' }],
    harms: [],
    summary: '150 of the 1024 neighbour entries that node-2 can hold wait for machines that do not answer, on eth0',
    advice:
      'Something on node-2 sends to addresses that nobody has: a scan, a monitor, clients of pods or machines that are gone. See who (tcpdump -ni DEVICE arp) before it fills the table.',
    evidence: [
      {
        where: 'node-2',
        source: NEIGHBOURS,
        text: expect.stringMatching(/^(10\.28\.200\.\d+ dev eth0 (FAILED|INCOMPLETE), ){5}and 145 more$/),
      },
    ],
  });
});

test.each([
  [103, 1],
  [102, 0],
])('%i of 1024 waiting make %i findings', (count, findings) => {
  const entries = Array.from({ length: count }, (_, index) => ({ dst: `10.28.200.${index}`, dev: 'eth0', state: ['FAILED'] }));
  const bundle = withReading(
    inCase('healthy'),
    `${NEIGHBOURS} @after`,
    said(() => JSON.stringify(entries)),
    'node-2',
  );
  expect(findingsIn(neighbourTableFull, bundle).length).toBe(findings);
});

test('limits that are higher already are raised fourfold', () => {
  const bundle = withReading(
    withoutNode3(inCase('refused')),
    TABLE,
    said((stdout) => stdout.replace('"thresh3":1024', '"thresh3":8192')),
  );
  const [finding] = findingsIn(neighbourTableFull, bundle);
  expect(finding?.remedy?.params).toEqual({ thresh1: '8192', thresh2: '16384', thresh3: '32768' });
  expect(finding?.at).not.toContainEqual(expect.objectContaining({ via: NODE_1 }));
});
