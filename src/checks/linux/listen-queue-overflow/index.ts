import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Citation } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, parseComplete } from '../../kit/check.ts';
import { SOMAXCONN, TCP_COUNTERS, TCP_LISTENERS } from '../../kit/readings.ts';
import { parseTcpListeners, type TcpListener } from '../../kit/sockets.ts';
import { parseTcpGrowth, type TcpGrowth } from '../../kit/tcp-counters.ts';

type Facts = { readonly grown: TcpGrowth; readonly listeners: readonly TcpListener[]; readonly somaxconn: number };

const Setting = z
  .string()
  .regex(/^\d+\n$/)
  .transform(Number);

/** N15, in the node's own network namespace. Source: net/ipv4/tcp_input.c, tcp_conn_request; man listen(2). */
export const listenQueueOverflow = defineCheck({
  id: 'listen-queue-overflow',
  row: 'N15',
  layer: 'L4',
  scope: 'node',
  title: 'A queue of connections to accept is full',
  why: 'A program on the node, or in a pod that shares its network, accepts too slowly: new connections to it are dropped.',
  codes: {
    'listen-queue-overflow':
      'The kernel of a node dropped connections during the run because a program that listens there accepts too slowly.',
  },
  params: z.strictObject({ overflows: z.number().default(5) }),
  collect: { counters: TCP_COUNTERS, listeners: TCP_LISTENERS, somaxconn: SOMAXCONN },
  parse: ({ counters, listeners, somaxconn }) =>
    allParsed<Facts>({
      grown: parseTcpGrowth(counters),
      listeners: parseTcpListeners(listeners),
      somaxconn: parseComplete(somaxconn, (stdout) => Setting.parse(stdout)),
    }),
  evaluate: ({ grown, listeners, somaxconn }: Facts, { node }, { overflows }) => {
    const count = grown.get('ListenOverflows') ?? 0;
    if (count === 0) return [];
    // The kernel lets one more wait than it says; net/sock.h, sk_acceptq_is_full.
    const full = listeners.filter(({ waiting, backlog }) => waiting > backlog);
    const counted = { where: node, source: TCP_COUNTERS.files.join(), text: `ListenOverflows +${count} during the run` };
    if (full.length > 0) return full.map((listener) => queueFull(node, listener, somaxconn, counted));
    return count < overflows ? [] : [overflow(node, count, counted)];
  },
});

function queueFull(node: string, { address, port, waiting, backlog }: TcpListener, somaxconn: number, counted: Citation): Draft {
  const limit =
    backlog >= somaxconn
      ? `net.core.somaxconn (${somaxconn}) limits the queue: raise it, and restart the program`
      : `The program itself asks for a queue of ${backlog} (its backlog; net.core.somaxconn is ${somaxconn})`;
  return {
    code: 'listen-queue-overflow',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: [{ proto: 'tcp', dport: port, state: 'new' }],
    partial: 'flows',
    summary: `new connections to port ${port} of ${node} are dropped: ${waiting} wait to be accepted, ${backlog} may`,
    advice: `Find out why the program that listens there does not accept (ss -ltnp on the node names it). ${limit}.`,
    evidence: [
      { where: node, source: TCP_LISTENERS.argv.join(' '), text: `LISTEN ${waiting} ${backlog} ${address}:${port}` },
      counted,
    ],
  };
}

function overflow(node: string, count: number, counted: Citation): Draft {
  return {
    code: 'listen-queue-overflow',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: [],
    summary: `${node} dropped ${count} connections during the run because a program's queue of connections to accept was full; no queue is full now`,
    advice: 'Look which queue fills (ss -ltn on the node, Recv-Q against Send-Q), then at the program that listens there.',
    evidence: [counted],
  };
}
