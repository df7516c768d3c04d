import { randomUUID } from 'node:crypto';
import { createKubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import { createDiagnose, type Diagnosed } from '../../src/diagnosis/diagnose.ts';
import { entityName } from '../../src/model/entity.ts';
import type { RunRequest, Verdict } from '../../src/model/verdict.ts';
import type { Expectation } from '../lab/faults/fault.ts';
import type { Lab } from '../lab/lab.ts';

/** Runs a diagnosis of a lab's cluster, as the command line and the worker do, with no more rights than a worker has. */
export async function diagnoseLab(
  lab: Pick<Lab, 'name' | 'kubeconfig'>,
  request: RunRequest = { kind: 'cluster' },
): Promise<Diagnosed> {
  const { kubeconfig } = lab;
  const opened = createKubernetesCluster({ kubeconfig, context: `${lab.name}-worker`, log: { debug: () => {} } });
  if (!opened.ok) throw new Error(opened.fault.message);
  try {
    const diagnose = createDiagnose({ cluster: opened.value, version: 'test', clock: Date.now });
    const result = await diagnose(request, { runId: randomUUID(), signal: new AbortController().signal, onProgress: () => {} });
    if (!result.ok) throw new Error(result.error.message);
    return result.value;
  } finally {
    await opened.value.close();
  }
}

/** What of a verdict is not as expected, a sentence each; nothing when all of it is. */
export function mismatches(verdict: Verdict, expected: Expectation): readonly string[] {
  const found: string[] = [];
  const compare = (what: string, is: unknown, should: unknown): void => {
    if (JSON.stringify(is) !== JSON.stringify(should))
      found.push(`${what} is ${JSON.stringify(is)}, should be ${JSON.stringify(should)}`);
  };
  compare('status', verdict.status, expected.status);
  compare('layer', verdict.layer, expected.layer);
  const causes = verdict.causes.map(({ code, entity }) => `${code} on ${entityName(entity)}`).toSorted();
  const wanted = expected.codes.map(({ code, node }) => `${code} on ${node ?? '?'}`).toSorted();
  const isEqual =
    causes.length === wanted.length &&
    wanted.every((name, index) => name === causes[index] || name === `${causes[index]?.split(' on ')[0]} on ?`);
  if (!isEqual) compare('causes', causes, wanted);
  if (expected.located === undefined)
    compare(
      'located',
      verdict.located.map(({ segment }) => segment),
      [],
    );
  else {
    const { layer: first, others = [] } = expected.located;
    const told = new Set(verdict.located.map(({ layer }) => layer));
    compare('layers of what is located', [...told].toSorted(), [first, ...others].toSorted());
  }
  const scope = `${verdict.scope.sentence} ${verdict.scope.subjects.map(entityName).join(' ')} ${verdict.scope.targets.map(entityName).join(' ')}`;
  for (const node of expected.nodes)
    if (!scope.includes(node)) found.push(`the scope does not name ${node}: ${verdict.scope.sentence}`);
  for (const code of expected.risks ?? []) {
    if (!verdict.risks.some((risk) => risk.code === code)) found.push(`the risk ${code} is missing`);
  }
  for (const node of expected.notChecked ?? []) {
    if (!verdict.notChecked.some(({ where }) => where.split(', ').includes(node)))
      found.push(`${node} is not told as not checked`);
  }
  const told = JSON.stringify([verdict.causes, verdict.located]);
  for (const text of expected.mentions ?? []) if (!told.includes(text)) found.push(`nothing mentions ${text}`);
  if (expected.status === 'healthy') {
    compare('notChecked', verdict.notChecked, []);
    const told = new Set(verdict.risks.map(({ code }) => code));
    compare('risks', [...told].toSorted(), [...new Set(expected.risks)].toSorted());
  }
  return found;
}
