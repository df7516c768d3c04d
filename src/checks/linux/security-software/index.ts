import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { How, Probe } from '../../../model/probe.ts';
import { type Draft, defineCheck, type Probed, parseComplete } from '../../kit/check.ts';
import { PROCESS_NAMES, readingText } from '../../kit/readings.ts';
import { PROGRAMS } from './programs.ts';

/** How exchanges end when something on the way does away with them. */
const LOST: ReadonlySet<How | null> = new Set<How | null>(['timeout', 'reset', 'prohibited', 'refused-locally', 'tls-error']);
const EXCHANGES: ReadonlySet<Probe['method']> = new Set<Probe['method']>(['tcp', 'http', 'tls', 'dns']);

/** N4. Source: the list of processes that a guide to pod networks looks for, extended. */
export const securitySoftware = defineCheck({
  id: 'security-software',
  row: 'N4',
  layer: 'L4',
  scope: 'cluster',
  title: 'Security software that hooks into the network',
  why: 'It drops or resets connections in the kernel, where no rule shows it, and knows nothing of pods.',
  codes: { 'security-software': 'A security program runs on a node where connections fail; it may be what ends them.' },
  params: z.strictObject({}),
  collect: { processes: PROCESS_NAMES },
  parse: ({ processes }) =>
    parseComplete(processes, (stdout) => {
      const names = stdout.split('\n').flatMap((line) => line.trim() || []);
      // `ps` itself is always there.
      if (!names.includes('ps')) throw new Error('not a list of processes');
      return [...new Set(names.filter((name) => Object.hasOwn(PROGRAMS, name)))].toSorted();
    }),
  evaluate: (facts: ReadonlyMap<string, readonly string[]>, { probed }) =>
    [...facts].flatMap(([node, names]) => {
      const lost = names.length === 0 ? [] : lostOn(node, probed);
      return lost.length === 0 ? [] : [suspected(node, names, lost)];
    }),
});

/** Connections from or to a node that should work and were ended or lost on the way. */
function lostOn(node: string, probed: readonly Probed[]): readonly Probed[] {
  return probed.filter(
    ({ probe, result }) =>
      (probe.from.node === node || probe.to.node === node) &&
      probe.expect === 'reach' &&
      EXCHANGES.has(probe.method) &&
      result.status === 'fail' &&
      LOST.has(result.how),
  );
}

/** It harms nothing that could be shown: it is named beside what fails, and never takes its place. */
function suspected(node: string, names: readonly string[], lost: readonly Probed[]): Draft {
  const makers = [...new Set(names.map((name) => PROGRAMS[name] ?? name))];
  return {
    code: 'security-software',
    entity: nodeEntity(node),
    severity: 'info',
    certainty: 'suspect',
    at: [],
    harms: [],
    summary: `${makers.join(' and ')} ${makers.length === 1 ? 'runs' : 'run'} on ${node}, where ${lost.length === 1 ? 'a connection fails' : `${lost.length} connections fail`}; such software can end connections without a rule that shows it`,
    advice: `If nothing else explains it, stop ${names.join(', ')} on ${node} alone and run the check again; some leave their kernel module behind until a reboot. Have pod and node networks excepted in it.`,
    evidence: [
      { where: node, source: readingText(PROCESS_NAMES), text: `running: ${names.join(', ')}` },
      ...lost.slice(0, 3).map(({ probe, result }) => ({
        where: probe.from.pod ?? probe.from.node,
        source: probe.id,
        text: `${result.how ?? 'failed'}${result.detail === undefined ? '' : `, ${result.detail}`}`,
      })),
    ],
  };
}
