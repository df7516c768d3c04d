import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Evidence } from '../../../model/evidence.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, type Parsed, parseComplete } from '../../kit/check.ts';
import { CPU_TIMES, PACKET_QUEUES } from '../../kit/readings.ts';

/** Processor time in all and stolen, in clock ticks, and the time of the node's clock, in seconds since 1970. */
type Times = { readonly total: number; readonly stolen: number; readonly now: number };

/** Packets that all processors took from their queues or dropped, and how often one had to stop before its queue was empty. */
type Queues = { readonly packets: number; readonly dropped: number; readonly squeezed: number };

type Facts = { readonly before: Times; readonly after: Times; readonly queuesBefore: Queues; readonly queuesAfter: Queues };

/** Fewer ticks than in half a second of one processor say nothing. */
const FEW_TICKS = 50;

/** N18. Source: proc_stat(5), net/core/dev.c (enqueue_to_backlog); what a hypervisor gives to others while a processor has work to do is stolen. */
export const nodeSlow = defineCheck({
  id: 'node-slow',
  row: 'N18',
  layer: 'L4',
  scope: 'cluster',
  title: 'A node is slow, or its clock is wrong',
  why: 'A node that does not get its processor time, or whose clock is wrong, looks like one with a bad network.',
  codes: {
    'cpu-stolen': 'The hypervisor gave much of the processor time that a node wanted to others during the run.',
    'packets-dropped-by-cpu':
      'The kernel dropped packets that had come in, because its processors did not take them from their queues in time.',
    'clock-wrong': "A node's clock is far from those of the others.",
  },
  params: z.strictObject({
    stolen: z.number().default(0.2),
    dropped: z.number().default(100),
    droppedShare: z.number().default(0.001),
    clockSeconds: z.number().default(60),
  }),
  collect: { times: CPU_TIMES, queues: PACKET_QUEUES },
  parse: ({ times, queues }) =>
    allParsed<Facts>({
      before: parseTimes(times.before),
      after: parseTimes(times.after),
      queuesBefore: parseQueues(queues.before),
      queuesAfter: parseQueues(queues.after),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, _context, { stolen, dropped, droppedShare, clockSeconds }) => {
    const clocks = [...facts.values()].map(({ after }) => after.now).sort((a, b) => a - b);
    // Of two clocks nobody knows which one is right.
    const right = clocks.length < 3 ? undefined : clocks[Math.floor(clocks.length / 2)];
    return [...facts].flatMap(([node, { before, after, queuesBefore, queuesAfter }]) => {
      const ticks = after.total - before.total;
      const share = ticks < FEW_TICKS ? 0 : (after.stolen - before.stolen) / ticks;
      const lost = queuesAfter.dropped - queuesBefore.dropped;
      const came = queuesAfter.packets - queuesBefore.packets + lost;
      const ahead = right === undefined ? 0 : after.now - right;
      return [
        ...(share < stolen ? [] : [cpuStolen(node, share, after.stolen - before.stolen, ticks)]),
        // A counter that ran over says nothing.
        ...(lost < dropped || came < lost || lost < came * droppedShare
          ? []
          : [packetsDropped(node, lost, came, queuesAfter.squeezed - queuesBefore.squeezed)]),
        ...(Math.abs(ahead) < clockSeconds ? [] : [clockWrong(node, ahead)]),
      ];
    });
  },
});

function parseTimes(evidence: Evidence): Parsed<Times> {
  return parseComplete(evidence, (stdout) => {
    const [, stat = '', uptime] =
      /^==> \/proc\/stat <==\n([\s\S]*)==> \/proc\/uptime <==\n(\d+\.\d+) \d+\.\d+\n$/.exec(stdout) ?? [];
    const words = /^cpu +((?:\d+ ?){8,})$/m.exec(stat)?.[1]?.trim().split(' ').map(Number);
    const started = /^btime (\d+)$/m.exec(stat)?.[1];
    if (words === undefined || started === undefined || uptime === undefined) throw new Error('no times of processors');
    // Guests' time, behind the eighth, is in the user's already.
    const total = words.slice(0, 8).reduce((sum, ticks) => sum + ticks, 0);
    return { total, stolen: words[7] ?? 0, now: Number(started) + Number(uptime) };
  });
}

/** A line for each processor, of hexadecimal counters of 32 bits. Source: net/core/net-procfs.c, softnet_seq_show. */
function parseQueues(evidence: Evidence): Parsed<Queues> {
  return parseComplete(evidence, (stdout) => {
    const lines = stdout.split('\n').filter((line) => line !== '');
    if (lines.length === 0 || lines.some((line) => !/^[0-9a-f]{8}(?: [0-9a-f]{8}){2,}$/.test(line)))
      throw new Error('no counters of queues');
    const sum = (column: number): number =>
      lines.reduce((total, line) => total + Number.parseInt(line.split(' ')[column] ?? '', 16), 0);
    return { packets: sum(0), dropped: sum(1), squeezed: sum(2) };
  });
}

function packetsDropped(node: string, lost: number, came: number, squeezed: number): Draft {
  const share = (100 * lost) / came;
  return {
    code: 'packets-dropped-by-cpu',
    layer: 'L2',
    entity: nodeEntity(node),
    severity: 'warning',
    certainty: 'suspect',
    partial: true,
    at: [
      { place: nodePlace(node), point: 'dev', dir: 'in' },
      { place: nodePlace(node), point: 'bridge' },
    ],
    harms: [{}],
    summary: `the kernel of ${node} dropped ${lost} of ${came} packets (${share < 1 ? share.toFixed(1) : Math.round(share)} %) while netcheck looked: its processors did not take them from their queues in time`,
    advice: `Raise net.core.netdev_max_backlog (1000 by default) on ${node}, spread the packets over its processors (RPS, receive queues of the card), and see what keeps them busy (mpstat -P ALL 1, the column %soft).`,
    evidence: [
      {
        where: node,
        source: '/proc/net/softnet_stat',
        text: `dropped +${lost}, processed +${came - lost}, time_squeeze +${squeezed} during the run`,
      },
    ],
  };
}

function cpuStolen(node: string, share: number, stolen: number, ticks: number): Draft {
  return {
    code: 'cpu-stolen',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: [],
    summary: `${node} did not get ${Math.round(share * 100)} % of its processor time during the run: the hypervisor gave it to others`,
    advice:
      'What this node sends and answers comes late. Move it to another host, or to an instance type with processors of its own.',
    evidence: [{ where: node, source: '/proc/stat', text: `steal +${stolen} of +${ticks} ticks during the run` }],
  };
}

function clockWrong(node: string, ahead: number): Draft {
  const minutes = Math.round(Math.abs(ahead) / 60);
  return {
    code: 'clock-wrong',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'socket' }],
    harms: [],
    summary: `the clock of ${node} is ${minutes} min ${ahead > 0 ? 'ahead of' : 'behind'} those of the other nodes`,
    advice:
      'Certificates and tokens look expired or not yet valid there: look at its time synchronisation (chronyc tracking, timedatectl).',
    evidence: [{ where: node, source: '/proc/stat, /proc/uptime', text: `${Math.round(ahead)} s from the median of all nodes` }],
  };
}
