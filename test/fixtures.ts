import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CHECKS } from '../src/checks/index.ts';
import type { Check, Probed, Readings } from '../src/checks/kit/check.ts';
import { classify } from '../src/diagnosis/classify.ts';
import { type Evaluation, evaluate } from '../src/diagnosis/evaluate.ts';
import { tagsOf } from '../src/diagnosis/judge.ts';
import { probeResults } from '../src/diagnosis/results.ts';
import { readingMoments } from '../src/diagnosis/tasks.ts';
import { Bundle } from '../src/model/bundle.ts';
import type { Evidence } from '../src/model/evidence.ts';
import type { Finding } from '../src/model/finding.ts';
import type { Pod } from '../src/model/inventory.ts';
import type { ProbeResult } from '../src/model/probe.ts';
import { type PodNamespace, PodState } from '../src/model/wire/agent.ts';
import { capturedInventory, evidence, filterEvidence, NODES } from './filter-evidence.ts';

/*
 * The captured cases that checks are tested with: `fixtures/CASE/` in the folder of a check, either as the bundle of a run
 * (`bundle.json`) or, for the checks of packet filters, as one file for each reading of a node.
 */

export const CATALOGUE = join(import.meta.dirname, '../src/checks');

/** The names of a check's cases. `folder` is that of the catalogue, as `linux/ip-forward-off`. */
export function casesOf(folder: string): readonly string[] {
  return readdirSync(join(CATALOGUE, folder, 'fixtures'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();
}

/** The evidence of one case as a bundle, as its run left it. */
export function readCase(folder: string, name: string): Bundle {
  const path = join(CATALOGUE, folder, 'fixtures', name, 'bundle.json');
  return existsSync(path) ? Bundle.parse(JSON.parse(readFileSync(path, 'utf8'))) : filterCase(folder, name);
}

function filterCase(folder: string, name: string): Bundle {
  const check = CHECKS[folder];
  if (check === undefined) throw new Error(`there is no check in ${folder}`);
  const fixtures = pathToFileURL(join(CATALOGUE, folder, 'fixtures/'));
  const inventory = capturedInventory();
  return {
    schema: 'netcheck.bundle/v1',
    version: 'test',
    run: {
      id: name,
      request: { kind: 'cluster' },
      cluster: inventory.cluster,
      startedAt: '2026-11-20T00:00:00.000Z',
      durationMs: 0,
    },
    inventory,
    plan: { nodes: [...NODES], checks: [check.id], probes: [], omitted: [] },
    evidence: NODES.map((node) => {
      const read: Readonly<Record<string, Evidence>> = filterEvidence(fixtures, name, node);
      const items = Object.entries(check.collect as Readings).flatMap(([reading, what]) =>
        readingMoments(what).map(({ key }) => [key, read[reading] ?? evidence([], '')] as const),
      );
      return { node, items: Object.fromEntries(items) };
    }),
  };
}

/** How the probes of a bundle ended, as checks see them. */
export function probedIn({ plan, evidence }: Bundle): readonly Probed[] {
  const results = probeResults(plan.probes, new Map(evidence.map((node) => [node.node, node])), tagsOf(plan.probes));
  return classify(plan.probes, results).map(({ probe, result }) => ({ probe, result }));
}

/** How the probes of a bundle ended, except that those with a matching id ended otherwise. */
export function probedOtherwise(
  bundle: Bundle,
  ...changes: readonly (readonly [RegExp, Partial<ProbeResult>])[]
): readonly Probed[] {
  for (const [pattern] of changes)
    if (!bundle.plan.probes.some(({ id }) => pattern.test(id))) throw new Error(`no probe is like ${pattern}`);
  return probedIn(bundle).map(({ probe, result }) => ({
    probe,
    result: changes.reduce((ended, [pattern, change]) => (pattern.test(probe.id) ? { ...ended, ...change } : ended), result),
  }));
}

/** What a check makes of a bundle: findings, what it acquits, and what it could not judge. */
export function evaluated(check: Check, bundle: Bundle, probed: readonly Probed[] = probedIn(bundle)): Evaluation {
  return evaluate([check], bundle.evidence, bundle.inventory, probed);
}

/** What a check finds in a case; throws where anything could not be read. */
export function findingsIn(check: Check, bundle: Bundle, probed?: readonly Probed[]): readonly Finding[] {
  const { findings, gaps } = evaluated(check, bundle, probed);
  if (gaps.length > 0) throw new Error(gaps.map(({ where, reason }) => `${where}: ${reason}`).join('\n'));
  return findings;
}

/** The bundle with one reading of a node, or of every node, changed. `reading` is a part of its key. */
export function withReading(
  bundle: Bundle,
  reading: string,
  change: (evidence: Evidence) => Evidence | null,
  on?: string,
): Bundle {
  let count = 0;
  const changed = bundle.evidence.map((node) => {
    if (on !== undefined && node.node !== on) return node;
    const items = Object.entries(node.items).flatMap(([key, item]) => {
      if (!key.includes(reading)) return [[key, item] as const];
      count += 1;
      const next = change(item);
      return next === null ? [] : [[key, next] as const];
    });
    return { ...node, items: Object.fromEntries(items) };
  });
  if (count === 0) throw new Error(`no node has a reading ${reading}`);
  return { ...bundle, evidence: changed };
}

/** A change of the output of a reading; throws where it changes nothing. */
export function said(change: (stdout: string) => string): (evidence: Evidence) => Evidence {
  return (item) => {
    const stdout = change(item.stdout);
    if (stdout === item.stdout) throw new Error(`nothing to change in: ${item.stdout.slice(0, 200)}`);
    return { ...item, stdout };
  };
}

/** Ways in which a reading can fail to be complete. */
export const INCOMPLETE: Readonly<Record<string, (evidence: Evidence) => Evidence>> = {
  truncated: (item) => ({ ...item, truncated: true, exitCode: null }),
  timeout: (item) => ({ ...item, stdout: '', exitCode: null, fault: 'timeout' }),
  denied: (item) => ({ ...item, stdout: '', exitCode: null, fault: 'denied' }),
  'not installed': (item) => ({ ...item, stdout: '', exitCode: null, fault: 'not-found' }),
  'exit status 2': (item) => ({ ...item, stdout: '', exitCode: 2, stderr: 'Operation not permitted\n' }),
};

/** Output that no tool of the catalogue prints. */
export const GARBAGE: readonly string[] = [
  'Segmentation fault (core dumped)\n',
  '\u0000\uFFFD\u0007',
  '{"error": true}',
  'null',
  '[[]]',
];

/** The bundle with what was read of the pods of a node changed. */
export function withPodState(bundle: Bundle, change: (state: PodState) => PodState, on = 'node-2'): Bundle {
  return withReading(
    bundle,
    'pods: state',
    said((stdout) => JSON.stringify(change(PodState.parse(JSON.parse(stdout))))),
    on,
  );
}

/** The same for the namespace of one pod, found by its address. */
export function withPodNamespace(
  bundle: Bundle,
  ip: string,
  change: (namespace: PodNamespace) => PodNamespace,
  on = 'node-2',
): Bundle {
  const changed = (state: PodState): PodState => ({
    ...state,
    namespaces: state.namespaces.map((namespace) => (namespace.addresses.includes(ip) ? change(namespace) : namespace)),
  });
  return withPodState(bundle, changed, on);
}

/** The bundle with a pod of its inventory changed. */
export function withPod(bundle: Bundle, name: string, change: Partial<Pod>): Bundle {
  const { pods } = bundle.inventory;
  if (!pods.some((pod) => pod.name === name)) throw new Error(`there is no pod ${name}`);
  return {
    ...bundle,
    inventory: { ...bundle.inventory, pods: pods.map((pod) => (pod.name === name ? { ...pod, ...change } : pod)) },
  };
}
