import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { CONNTRACK_FREE, NEIGHBOUR_COUNT, NEIGHBOUR_TABLE } from './readings.ts';
import { parseNeighbourTable, readConntrackFree, readNeighboursFree } from './tables.ts';

// iproute2 6.1 on Linux 6.18, with the other devices left out.
const LIMITS = `[{"family":"inet","name":"arp_cache","thresh1":128,"thresh2":512,"thresh3":1024,"gc_interval":30000,"entries":55,"refcnt":1,"reachable":38468,"base_reachable":30000,"allocs":286322,"destroys":286267,"periodic_gc_runs":1610,"forced_gc_runs":3,"table_fulls":2},{"family":"inet","name":"arp_cache","dev":"eth0","refcnt":2,"reachable":18936,"base_reachable":30000}]
`;
const ENTRIES = `IP address       HW type     Flags       HW address            Mask     Device
172.27.3.0       0x1         0x6         0e:d6:0c:b9:3f:01     *        flannel.1
172.27.2.0       0x1         0x6         0e:bc:63:65:6b:f6     *        flannel.1
10.28.0.2        0x1         0x2         02:00:0a:1c:00:02     *        eth0
10.28.9.9        0x1         0x0         00:00:00:00:00:00     *        eth0
`;
const limits = (stdout: string, rest = {}) => evidence(NEIGHBOUR_TABLE.argv, stdout, rest);
const entries = (stdout: string, rest = {}) => evidence(['cat', ...NEIGHBOUR_COUNT.files], stdout, rest);

test('free neighbour entries: up to where garbage is collected, without those that are permanent', () => {
  expect(readNeighboursFree(limits(LIMITS), entries(ENTRIES))).toBe(510);
});

test('a table that is fuller than its limit has none free', () => {
  expect(readNeighboursFree(limits(LIMITS.replace('512', '1')), entries(ENTRIES))).toBe(0);
});

test('the table by its limits and counters', () => {
  expect(parseNeighbourTable(limits(LIMITS))).toEqual({
    outcome: 'ok',
    facts: { thresh2: 512, thresh3: 1024, entries: 55, forced: 3, refused: 2 },
  });
  expect(parseNeighbourTable(limits(LIMITS.replace(',"table_fulls":2', ''))).outcome).toBe('unknown');
});

test('what cannot be read is not known', () => {
  expect([
    readNeighboursFree(undefined, entries(ENTRIES)),
    readNeighboursFree(limits(LIMITS), undefined),
    readNeighboursFree(limits(LIMITS, { truncated: true, exitCode: null }), entries(ENTRIES)),
    readNeighboursFree(limits(LIMITS), entries('', { fault: 'denied', exitCode: null })),
    readNeighboursFree(limits('garbage'), entries(ENTRIES)),
    readNeighboursFree(limits(LIMITS), entries('garbage')),
    readNeighboursFree(limits(LIMITS), entries('')),
    readNeighboursFree(limits('[{"name":"arp_cache","dev":"eth0"}]'), entries(ENTRIES)),
  ]).toEqual([null, null, null, null, null, null, null, null]);
});

const conntrack = (stdout: string, rest = {}) => evidence(['cat', ...CONNTRACK_FREE.files], stdout, rest);
const CONNTRACK = `==> /proc/sys/net/netfilter/nf_conntrack_count <==
2
==> /proc/sys/net/netfilter/nf_conntrack_max <==
262144
`;

test('free conntrack entries', () => {
  expect([
    readConntrackFree(conntrack(CONNTRACK)),
    readConntrackFree(conntrack(CONNTRACK.replace('\n2\n', '\n262145\n'))),
    readConntrackFree(conntrack('')),
    readConntrackFree(undefined),
    readConntrackFree(conntrack('', { fault: 'denied', exitCode: null })),
    readConntrackFree(conntrack('==> /proc/sys/net/netfilter/nf_conntrack_max <==\n262144\n')),
  ]).toEqual([262142, 0, Number.POSITIVE_INFINITY, null, null, null]);
});
