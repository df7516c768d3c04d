import { diagnoseLab } from '../e2e/diagnose.ts';
import { type At, type Expectation, type Fault, together } from '../lab/faults/fault.ts';
import { injectFault } from '../lab/faults/index.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import { NODES } from './plan.ts';
import { judgeTrial, type Kind, type Placed, type Trial } from './trial.ts';

const HEALTHY: Expectation = { status: 'healthy', layer: null, codes: [], nodes: [] };

/** Builds a lab, puts in what is placed, diagnoses it as the command line does, and compares. Nothing is left of the lab. */
export async function runTrial(kind: Kind, placed: readonly Placed[]): Promise<Trial> {
  const lab = await createLab({ nodes: NODES });
  try {
    const there: { readonly fault: Fault; readonly at: At }[] = [];
    for (const { name, at } of placed) there.push(await injectFault(lab, name, onlyNamed(at)));
    const [request] = there.flatMap(({ fault, at }) => fault.request?.(lab, at) ?? []);
    const { verdict } = await diagnoseLab(lab, request);
    const expectations = there.map(({ fault, at }) => ({ name: fault.name, at, ...fault.expects(lab, at) }));
    const [first, ...more] = expectations;
    const expectation = first === undefined ? HEALTHY : more.length === 0 ? first : together(expectations);
    const lost = expectations.flatMap(({ name, at, lost: way }) => (way === undefined ? [] : [{ name, at, lost: way }]));
    return judgeTrial(kind, placed, expectation, more.length === 0 ? lost : [], verdict, (entity) => nodeOf(lab, entity));
  } finally {
    await lab.down();
  }
}

function onlyNamed({ node, peer }: At): Partial<At> {
  return { ...(node === '' ? {} : { node }), ...(peer === '' ? {} : { peer }) };
}

function nodeOf({ topology }: Lab, entity: string): string | null {
  const pod = topology.pods.find(({ namespace, name }) => `${namespace}/${name}` === entity);
  return pod?.node ?? topology.nodes.find(({ name }) => name === entity)?.name ?? null;
}
