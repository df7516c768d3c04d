import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, ok, parseComplete } from '../../kit/check.ts';
import { isMissing } from '../../kit/conntrack.ts';
import { TCP_COUNTERS, TW_RECYCLE } from '../../kit/readings.ts';
import { parseTcpGrowth, type TcpGrowth } from '../../kit/tcp-counters.ts';

/** `recycle` is whether the kernel has `tcp_tw_recycle`, and has it on. */
type Facts = { readonly grown: TcpGrowth; readonly recycle: boolean };

/** Packets of known connections, and of ones that are over, with a timestamp older than the last. Source: net/ipv4/proc.c. */
const OLD = ['PAWSEstab', 'PAWSTimewait', 'PAWSActive'];

/** First packets of new connections, rejected by `tcp_tw_recycle`; the counter went with the setting in Linux 4.12. */
const NEW = 'PAWSPassive';

/** N16. Source: RFC 7323, 5 (PAWS); Linux 4.12, "tcp: remove tcp_tw_recycle". */
export const timestampsRejected = defineCheck({
  id: 'timestamps-rejected',
  row: 'N16',
  layer: 'L4',
  scope: 'node',
  title: 'TCP rejects timestamps that go back',
  why: 'Clients behind one translated address have clocks of their own: a node that compares them drops the connections of some.',
  codes: {
    'timestamps-rejected':
      'The TCP of a node drops packets because their timestamps are older than others from the same address.',
  },
  params: z.strictObject({ rejected: z.number().default(10) }),
  collect: { counters: TCP_COUNTERS, recycle: TW_RECYCLE },
  parse: ({ counters, recycle }) =>
    allParsed<Facts>({
      grown: parseTcpGrowth(counters),
      recycle: isMissing(recycle)
        ? ok(false)
        : parseComplete(recycle, (stdout) => {
            if (!/^[01]\n$/.test(stdout)) throw new Error('neither 0 nor 1');
            return stdout === '1\n';
          }),
    }),
  evaluate: ({ grown, recycle }: Facts, { node }, { rejected }) => {
    const opened = grown.get(NEW) ?? 0;
    const old = OLD.reduce((sum, name) => sum + (grown.get(name) ?? 0), 0);
    if (!recycle && opened === 0 && old < rejected) return [];
    return [rejects(node, grown, { recycle, opened, old })];
  },
});

function rejects(
  node: string,
  grown: TcpGrowth,
  { recycle, opened, old }: { readonly recycle: boolean; readonly opened: number; readonly old: number },
): Draft {
  const counted = [...OLD, NEW].flatMap((name) => ((grown.get(name) ?? 0) === 0 ? [] : [`${name} +${grown.get(name)}`]));
  const did = [
    ...(opened === 0 ? [] : [`dropped the first packet of ${opened} connections`]),
    ...(old === 0 ? [] : [`dropped ${old} packets of known connections`]),
  ].join(' and ');
  const summary =
    did === ''
      ? `net.ipv4.tcp_tw_recycle is 1 on ${node}: it rejects connections of clients that share an address, as pods behind a node do`
      : `${node} ${did} during the run, because their TCP timestamps went back`;
  return {
    code: 'timestamps-rejected',
    entity: nodeEntity(node),
    severity: opened === 0 ? 'warning' : 'critical',
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: opened === 0 ? [] : [{ proto: 'tcp', state: 'new' }],
    partial: 'flows',
    summary,
    advice: recycle
      ? 'Set net.ipv4.tcp_tw_recycle to 0: it never works with address translation, and newer kernels do not have it any more.'
      : 'Something between gives two clients the same address and port one soon after the other, or changes timestamps: look at load balancers and address translation before the node.',
    evidence: [
      ...(recycle ? [{ where: node, source: TW_RECYCLE.files.join(), text: '1' }] : []),
      ...(counted.length === 0
        ? []
        : [{ where: node, source: TCP_COUNTERS.files.join(), text: `${counted.join(', ')} during the run` }]),
    ],
  };
}
