import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bundle } from '../src/model/bundle.ts';
import type { RemedyPlan } from '../src/model/remedy.ts';
import { Verdict } from '../src/model/verdict.ts';

const directory = join(import.meta.dirname, 'fixtures/verdicts');

/** The names of the recorded verdicts. */
export const VERDICTS: readonly string[] = readdirSync(directory)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.slice(0, -'.json'.length))
  .sort();

/** A recorded verdict, optionally as if another run had found it. */
export function readVerdict(name: string, run: Partial<Verdict['run']> = {}): Verdict {
  const verdict = Verdict.parse(JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')));
  return { ...verdict, run: { ...verdict.run, ...run } };
}

/** A bundle without content, for what only carries bundles about. */
export function emptyBundle(run: Verdict['run']): Bundle {
  return {
    schema: 'netcheck.bundle/v1',
    version: '0.0.0',
    run,
    inventory: {
      cluster: run.cluster,
      apiServer: '192.0.2.1:6443',
      version: 'v1.34.0',
      agentNamespace: 'netcheck-agents',
      nodes: [],
      pods: [],
      services: [],
      endpoints: [],
      policies: [],
      namespaces: [],
      configs: {},
      webhooks: [],
      warnings: [],
      logs: [],
      readAt: '',
      gaps: [],
    },
    plan: { nodes: [], checks: [], probes: [], omitted: [] },
    evidence: [],
  };
}

/** The plans for what a verdict offers, in the form in which remedies make them. */
export function plansFor(verdict: Verdict): RemedyPlan[] {
  return verdict.causes.flatMap((cause) => {
    if (cause.remedy === undefined) return [];
    const { id, node, params } = cause.remedy;
    const commands =
      id === 'set-ip-forward'
        ? [['sysctl', '-w', 'net.ipv4.ip_forward=1']]
        : [['ip', 'neigh', 'flush', 'to', params['address'] ?? '', 'dev', params['device'] ?? '']];
    return [
      {
        remedy: id,
        title: id === 'set-ip-forward' ? `Set ip_forward to 1 on ${node}` : `Flush the neighbour entry on ${node}`,
        target: { node, uid: `uid-${node}` },
        params,
        commands,
        risk: 'Writing this key also resets the forwarding of every interface.',
        riskClass: id === 'set-ip-forward' ? 'medium' : 'low',
        undo: 'The value of every interface is written back.',
        finding: { code: cause.code, summary: cause.summary, evidence: cause.evidence },
        verification: cause.explains.map((probe) => ({ probe, before: { how: 'timeout', sent: 20, delivered: 0 } })),
      },
    ];
  });
}
