import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, defineCheck } from '../../kit/check.ts';
import { conntrackRemedy, parseConntrackUse, parseMemory } from '../../kit/conntrack.ts';
import { type KernelLine, parseKernelLog } from '../../kit/kernel-log.ts';
import { CONNTRACK_FREE, KERNEL_LOG, MEMORY } from '../../kit/readings.ts';

type Facts = {
  readonly log: readonly KernelLine[];
  readonly use: { readonly count: number; readonly max: number };
  readonly memory: number;
};

/** What connection tracking logs, older kernels without its name twice, newer ones with the network namespace. */
const TABLE_FULL = /conntrack: table full/;

/** N6. Source: GKE troubleshooting, intermittent connection failures; net/netfilter/nf_conntrack_core.c, __nf_conntrack_alloc. */
export const conntrackWasFull = defineCheck({
  id: 'conntrack-was-full',
  row: 'N6',
  layer: 'L4',
  scope: 'node',
  title: 'Connection-tracking table was full lately',
  why: 'Connections fail now and then, whenever the table of a node runs full, and work again when somebody looks.',
  codes: { 'conntrack-was-full': 'The kernel has logged that its connection-tracking table was full, within the last hour.' },
  params: z.strictObject({ withinSeconds: z.number().default(3600) }),
  collect: { log: KERNEL_LOG, use: CONNTRACK_FREE, memory: MEMORY },
  parse: ({ log, use, memory }) =>
    allParsed<Facts>({ log: parseKernelLog(log), use: parseConntrackUse(use), memory: parseMemory(memory) }),
  evaluate: ({ log, use: { count, max }, memory }, { node }, { withinSeconds }) => {
    const lines = log.filter(({ ago, text }) => ago <= withinSeconds && TABLE_FULL.test(text));
    const last = lines.at(-1);
    if (last === undefined) return [];
    const times = lines.length === 1 ? 'once' : `${lines.length} times`;
    return [
      {
        code: 'conntrack-was-full',
        entity: nodeEntity(node),
        severity: 'warning',
        at: [{ place: nodePlace(node), point: 'prerouting' }],
        harms: [],
        summary: `the connection-tracking table of ${node} was full: its kernel said so ${times} within the last ${duration(withinSeconds)}, the last time ${duration(last.ago)} ago; now it holds ${count} of at most ${max} entries`,
        advice:
          'New connections of the node and its pods failed at that time. The log does not say every drop: it is limited to a few lines in 5 s. NodeLocal DNSCache takes DNS queries, often most of the entries, out of the table.',
        evidence: [{ where: node, source: '/dev/kmsg', text: last.text }],
        remedy: conntrackRemedy(node, { max, memory }),
      },
    ];
  },
});

function duration(seconds: number): string {
  if (seconds >= 3600 && seconds % 3600 === 0) return seconds === 3600 ? 'hour' : `${seconds / 3600} hours`;
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}
