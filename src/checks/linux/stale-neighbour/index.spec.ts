import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { staleNeighbour } from './index.ts';

const inCase = (name: string) => readCase('linux/stale-neighbour', name);

const BEFORE = 'neighbour show @before';
const AFTER = 'neighbour show @after';
const OLD = '02:00:0a:1c:de:ad';
const IP = '10.28.87.61';

const wrongEntry = { place: 'node/node-2', point: 'neigh', dev: 'eth0', via: IP };
const stale = {
  check: 'stale-neighbour',
  code: 'stale-neighbour',
  layer: 'L2',
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  entity: { kind: 'Node', name: 'node-2' },
  at: [wrongEntry],
  harms: [{}],
} as const;
const SENDS = `node-2 sends to node-3 (${IP}) at the MAC address ${OLD}, but node-3's eth0 has 02:00:0a:1c:57:3d`;
const cited = (state: string) => [
  { where: 'node-2', source: 'ip -j -s neighbour show', text: `${IP} dev eth0 lladdr ${OLD} ${state}` },
  { where: 'node-3', source: 'ip -j -d -s address show', text: `eth0 ${IP} link/ether 02:00:0a:1c:57:3d` },
];

/** Every way from one node of the captured lab to another: by its own address, and by the tunnel's. */
const ENTRIES = [1, 2, 3].flatMap((from) =>
  [1, 2, 3]
    .filter((to) => to !== from)
    .flatMap((to) => [
      { place: `node/node-${from}`, point: 'neigh', dev: 'eth0', via: `10.28.87.${58 + to}` },
      { place: `node/node-${from}`, point: 'neigh', dev: 'flannel.1', via: `172.27.${to}.0` },
    ]),
);

/** Both readings of a node's neighbours, changed alike. */
function withNeighbours(bundle: Bundle, change: (stdout: string) => string): Bundle {
  return [BEFORE, AFTER].reduce((changed, key) => withReading(changed, key, said(change), 'node-2'), bundle);
}

function sorted<T extends { readonly place?: string | undefined; readonly via?: string | undefined }>(
  hops: readonly T[],
): readonly T[] {
  return hops.toSorted((a, b) => (`${a.place} ${a.via}` < `${b.place} ${b.via}` ? -1 : 1));
}

test('every entry has the address that its owner has, and is acquitted', () => {
  const { findings, acquitted, gaps } = evaluated(staleNeighbour, inCase('healthy'));
  expect({ findings, acquitted: sorted(acquitted), gaps }).toEqual({ findings: [], acquitted: sorted(ENTRIES), gaps: [] });
});

test('an entry that was learnt is flushed', () => {
  const { findings, acquitted, gaps } = evaluated(staleNeighbour, inCase('learnt'));
  expect({ findings, gaps }).toEqual({
    findings: [
      {
        ...stale,
        summary: SENDS,
        evidence: cited('REACHABLE'),
        remedy: { id: 'flush-neighbour', node: 'node-2', params: { dev: 'eth0', ip: IP, mac: OLD } },
      },
    ],
    gaps: [],
  });
  expect(acquitted).not.toContainEqual(wrongEntry);
  expect(sorted([...acquitted, wrongEntry])).toEqual(sorted(ENTRIES));
});

test('an entry that somebody set is not flushed: it is deleted, and only after asking', () => {
  const { findings, acquitted } = evaluated(staleNeighbour, inCase('permanent'));
  expect(findings).toEqual([
    {
      ...stale,
      summary: `${SENDS}; somebody has set the entry permanently`,
      advice: `The entry was set by somebody, it does not go away by itself: find out by whom before it is deleted (ip neigh del ${IP} dev eth0).`,
      evidence: cited('PERMANENT'),
      remedy: { id: 'delete-neighbour', node: 'node-2', params: { dev: 'eth0', ip: IP, mac: OLD } },
    },
  ]);
  expect(acquitted).not.toContainEqual(wrongEntry);
});

test('an entry that was mended meanwhile has lost some packets, and needs no remedy', () => {
  const mended = withReading(
    inCase('learnt'),
    AFTER,
    said((stdout) => stdout.replace(OLD, '02:00:0a:1c:57:3d')),
    'node-2',
  );
  expect(findingsIn(staleNeighbour, mended)).toEqual([
    {
      ...stale,
      partial: true,
      summary: `${SENDS.replace('sends', 'sent')}; the entry was learnt anew while this check ran`,
      evidence: cited('REACHABLE'),
    },
  ]);
});

test('an entry that the kernel gave up meanwhile was not learnt anew', () => {
  const failed = (stdout: string): string => {
    const entries = JSON.parse(stdout) as { dst: string; lladdr?: string; state: string[] }[];
    return JSON.stringify(
      entries.map((entry) => (entry.dst === IP ? { ...entry, lladdr: undefined, state: ['FAILED'] } : entry)),
    );
  };
  const gone = withReading(inCase('learnt'), AFTER, said(failed), 'node-2');
  expect(findingsIn(staleNeighbour, gone)).toEqual([
    {
      ...stale,
      partial: true,
      summary: `${SENDS.replace('sends', 'sent')}; the kernel gave the entry up while this check ran`,
      evidence: cited('REACHABLE'),
    },
  ]);
});

test('an entry that came up wrong during the sweep counts like one that was there', () => {
  const before = withReading(inCase('learnt'), BEFORE, (item) => ({ ...item, stdout: '[]' }), 'node-2');
  expect(findingsIn(staleNeighbour, before)).toEqual(findingsIn(staleNeighbour, inCase('learnt')));
});

test.for(['INCOMPLETE', 'FAILED', 'NONE'])('an entry in the state %s is not used, and so neither wrong nor right', (state) => {
  const bundle = withNeighbours(inCase('permanent'), (stdout) => stdout.replace(/(57:3d|de:ad)(".*?)PERMANENT/, `$1$2${state}`));
  const { findings, acquitted } = evaluated(staleNeighbour, bundle);
  expect(findings).toEqual([]);
  expect(acquitted).not.toContainEqual(wrongEntry);
});

const ROUTER = '52:54:00:12:35:02';
const behindRouter = (...ips: readonly string[]) =>
  withNeighbours(inCase('healthy'), (stdout) => {
    const entries = JSON.parse(stdout) as { dst: string; lladdr: string }[];
    const answered = entries.map((entry) => (ips.includes(entry.dst) ? { ...entry, lladdr: ROUTER } : entry));
    const missing = ips.filter((ip) => entries.every(({ dst }) => dst !== ip));
    return JSON.stringify([...answered, ...missing.map((dst) => ({ dst, dev: 'eth0', lladdr: ROUTER, state: ['REACHABLE'] }))]);
  });

test('a foreign address that answers for several nodes is a router; one that answers for a single node is not', () => {
  expect(findingsIn(staleNeighbour, behindRouter('10.28.87.59', '10.28.87.61'))).toEqual([]);
  expect(findingsIn(staleNeighbour, behindRouter('10.28.87.61')).map(({ at }) => at)).toEqual([[wrongEntry]]);
});

test('the address of one of our own nodes is never a router', () => {
  const own = withNeighbours(inCase('healthy'), (stdout) => {
    const ips = ['10.28.87.59', '10.28.87.61'];
    const rest = (JSON.parse(stdout) as { dst: string }[]).filter(({ dst }) => !ips.includes(dst));
    return JSON.stringify([...rest, ...ips.map((dst) => ({ dst, dev: 'eth0', lladdr: '02:00:0a:1c:57:3b', state: ['STALE'] }))]);
  });
  expect(findingsIn(staleNeighbour, own).map(({ at }) => at)).toEqual([[wrongEntry]]);
});

test('entries of a tunnel are the business of what keeps the tunnel', () => {
  const tunnel = withNeighbours(inCase('learnt'), (stdout) => stdout.replaceAll('"dev":"eth0"', '"dev":"flannel.1"'));
  expect(findingsIn(staleNeighbour, tunnel)).toEqual([]);
});

test('an address that two nodes hold is another fault: nobody is accused over it', () => {
  const twice = withReading(
    inCase('learnt'),
    'address show',
    said((stdout) => stdout.replaceAll('10.28.87.59', IP)),
    'node-1',
  );
  const { findings, acquitted } = evaluated(staleNeighbour, twice);
  expect(findings).toEqual([]);
  expect(acquitted.filter(({ via }) => via === IP)).toEqual([]);
});

test('what cannot be read is unknown on that node, and judges no other node by it', () => {
  const gone = withReading(inCase('learnt'), BEFORE, (item) => ({ ...item, truncated: true, exitCode: null }), 'node-2');
  const unreadable = withReading(
    inCase('learnt'),
    'address show',
    said((stdout) => stdout.slice(0, -20)),
    'node-3',
  );
  const cut = gone.evidence.find(({ node }) => node === 'node-2')?.items['node: ip -j -s neighbour show @before']?.stdout.length;
  expect(
    [gone, unreadable].map((bundle) => evaluated(staleNeighbour, bundle)).map(({ findings, gaps }) => ({ findings, gaps })),
  ).toEqual([
    {
      findings: [],
      gaps: [{ what: 'stale-neighbour', where: 'node-2', reason: `ip -j -s neighbour show: output was cut at ${cut} bytes` }],
    },
    {
      findings: [],
      gaps: [
        {
          what: 'stale-neighbour',
          where: 'node-3',
          reason: expect.stringMatching(/^ip -j -d -s address show: unreadable output \(.+\)$/),
        },
      ],
    },
  ]);
});

test('a machine that answers for the address is there: the entry is not stale, another fault is', () => {
  const bundle = withReading(
    inCase('learnt'),
    "arping -D of the node's own address",
    said((stdout) => stdout.replace('Sent 1', `Unicast reply from ${IP} [${OLD.toUpperCase()}]  0.6ms\nSent 1`)),
    'node-3',
  );
  expect(findingsIn(staleNeighbour, bundle)).toEqual([]);
});

test('a bridge of the other node may be reached at any MAC address of that node', () => {
  const entry = (mac: string) => `[{"dst":"172.27.3.1","dev":"eth0","lladdr":"${mac}","state":["REACHABLE"]},`;
  const learnt = (mac: string) =>
    withReading(
      inCase('healthy'),
      AFTER,
      said((stdout) => stdout.replace('[', entry(mac))),
      'node-2',
    );
  expect(findingsIn(staleNeighbour, learnt('02:00:0a:1c:57:3d'))).toEqual([]);
  expect(findingsIn(staleNeighbour, learnt(OLD))).toMatchObject([{ code: 'stale-neighbour' }]);
});
