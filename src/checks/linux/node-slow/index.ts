import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Evidence } from '../../../model/evidence.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, type Parsed, parseComplete } from '../../kit/check.ts';
import { CPU_TIMES } from '../../kit/readings.ts';

/** Processor time in all and stolen, in clock ticks, and the time of the node's clock, in seconds since 1970. */
type Times = { readonly total: number; readonly stolen: number; readonly now: number };
type Facts = { readonly before: Times; readonly after: Times };

/** Fewer ticks than in half a second of one processor say nothing. */
const FEW_TICKS = 50;

/** N18. Source: proc_stat(5); what a hypervisor gives to others while a processor has work to do is stolen. */
export const nodeSlow = defineCheck({
  id: 'node-slow',
  row: 'N18',
  layer: 'L4',
  scope: 'cluster',
  title: 'A node is slow, or its clock is wrong',
  why: 'A node that does not get its processor time, or whose clock is wrong, looks like one with a bad network.',
  codes: {
    'cpu-stolen': 'The hypervisor gave much of the processor time that a node wanted to others during the run.',
    'clock-wrong': "A node's clock is far from those of the others.",
  },
  params: z.strictObject({ stolen: z.number().default(0.2), clockSeconds: z.number().default(60) }),
  collect: { times: CPU_TIMES },
  parse: ({ times: { before, after } }) => allParsed<Facts>({ before: parseTimes(before), after: parseTimes(after) }),
  evaluate: (facts: ReadonlyMap<string, Facts>, _context, { stolen, clockSeconds }) => {
    const clocks = [...facts.values()].map(({ after }) => after.now).sort((a, b) => a - b);
    // Of two clocks nobody knows which one is right.
    const right = clocks.length < 3 ? undefined : clocks[Math.floor(clocks.length / 2)];
    return [...facts].flatMap(([node, { before, after }]) => {
      const ticks = after.total - before.total;
      const share = ticks < FEW_TICKS ? 0 : (after.stolen - before.stolen) / ticks;
      const ahead = right === undefined ? 0 : after.now - right;
      return [
        ...(share < stolen ? [] : [cpuStolen(node, share, after.stolen - before.stolen, ticks)]),
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
