import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, defineCheck } from '../../kit/check.ts';
import { type KernelLine, parseKernelLog } from '../../kit/kernel-log.ts';
import { KERNEL_LOG, NEIGHBOUR_TABLE } from '../../kit/readings.ts';
import { type NeighbourTable, parseNeighbourTable, raiseNeighbourLimits } from '../../kit/tables.ts';

type Facts = { readonly log: readonly KernelLine[]; readonly table: NeighbourTable };

/** What the kernel logs of the table of IPv4, since 4.9 with the module's name before it. */
const OVERFLOW = /arp_cache: neighbou?r table overflow/i;

/** N12. Source: net/core/neighbour.c, neigh_alloc; while netcheck looks, `neighbour-table-full` says more. */
export const neighbourTableWasFull = defineCheck({
  id: 'neighbour-table-was-full',
  row: 'N12',
  layer: 'L2',
  scope: 'node',
  title: 'The neighbour table was full lately',
  why: 'Pods and nodes that were not talked to for a while are unreachable now and then, and well again when somebody looks.',
  codes: { 'neighbour-table-was-full': 'The kernel has logged that its neighbour table was full, within the last hour.' },
  params: z.strictObject({ withinSeconds: z.number().default(3600) }),
  collect: { log: KERNEL_LOG, table: NEIGHBOUR_TABLE },
  parse: ({ log, table }) => allParsed<Facts>({ log: parseKernelLog(log), table: parseNeighbourTable(table.after) }),
  evaluate: ({ log, table: { entries, thresh3 } }, { node }, { withinSeconds }) => {
    const lines = log.filter(({ ago, text }) => ago <= withinSeconds && OVERFLOW.test(text));
    const last = lines.at(-1);
    if (last === undefined) return [];
    const times = lines.length === 1 ? 'once' : `${lines.length} times`;
    const ago = last.ago < 120 ? `${Math.round(last.ago)} s` : `${Math.round(last.ago / 60)} min`;
    return [
      {
        code: 'neighbour-table-was-full',
        entity: nodeEntity(node),
        severity: 'warning',
        at: [{ place: nodePlace(node), point: 'neigh' }],
        harms: [],
        summary: `the neighbour table of ${node} was full: its kernel said so ${times} within the last ${Math.round(withinSeconds / 60)} min, the last time ${ago} ago; now it holds ${entries} of at most ${thresh3} entries`,
        advice:
          'Raise gc_thresh1 to 3 (net.ipv4.neigh.default), and find out what fills the table: a scan, a monitor, clients of machines that are gone, or simply many pods on one link. The log does not say every refusal: it is limited to a few lines in 5 s.',
        evidence: [{ where: node, source: '/dev/kmsg', text: last.text }],
        remedy: raiseNeighbourLimits(node, { thresh3 }),
      },
    ];
  },
});
