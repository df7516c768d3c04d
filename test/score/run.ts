import type { Probe } from '../../src/model/probe.ts';
import { diagnoseLab } from '../e2e/diagnose.ts';
import { type At, type Expectation, type Fault, together } from '../lab/faults/fault.ts';
import { injectFault } from '../lab/faults/index.ts';
import { HARMLESS } from '../lab/harmless/index.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import { NODES } from './plan.ts';
import { judgeTrial, type Planned, type Trial, type Way } from './trial.ts';

const HEALTHY: Expectation = { status: 'healthy', layer: null, codes: [], nodes: [] };

/** Builds a lab, puts in what is placed, diagnoses it as the command line does, and compares. Nothing is left of the lab. */
export async function runTrial(planned: Planned, commit: string): Promise<Trial> {
  const { kind, network, placed } = planned;
  const lab = await createLab({ nodes: NODES, network });
  try {
    const there: { readonly fault: Fault; readonly at: At }[] = [];
    const risks: string[] = [];
    for (const { name, at } of placed) {
      const harmless = kind === 'healthy' ? HARMLESS[name] : undefined;
      if (harmless === undefined) there.push(await injectFault(lab, name, onlyNamed(at)));
      else {
        await harmless.inject(lab);
        await harmless.prove(lab);
        risks.push(...(harmless.risks ?? []));
      }
    }
    const [request] = there.flatMap(({ fault, at }) => fault.request?.(lab, at) ?? []);
    const { verdict, bundle } = await diagnoseLab(lab, request);
    const expectations = there.map(({ fault, at }) => ({ at, ...fault.expects(lab, at) }));
    const [first, ...more] = expectations;
    const expectation = first === undefined ? { ...HEALTHY, risks } : more.length === 0 ? first : together(expectations);
    const lost = first?.lost === undefined || more.length > 0 ? null : { ...first, lost: first.lost };
    const probes = new Map(bundle.plan.probes.map((probe) => [probe.id, probe]));
    return judgeTrial(
      { ...planned, commit },
      expectation,
      lost,
      verdict,
      (entity) => nodeOf(lab, entity),
      (symptom) => wayOf(lab, probes.get(symptom)),
    );
  } finally {
    await lab.down();
  }
}

function onlyNamed({ node, peer }: At): Partial<At> {
  return { ...(node === '' ? {} : { node }), ...(peer === '' ? {} : { peer }) };
}

function wayOf({ topology }: Lab, probe: Probe | undefined): Way | null {
  if (probe === undefined || probe.to.node === null) return null;
  const { method, from, to } = probe;
  const isPod = topology.pods.some(({ ip, network }) => network !== null && ip === to.ip);
  const isHost = topology.nodes.some(({ ip }) => ip === to.ip);
  return {
    from: { node: from.node, kind: from.pod === null ? 'host' : 'pod' },
    to: { node: probe.to.node, kind: isPod ? 'pod' : isHost ? 'host' : 'bridge' },
    isOneWay: method === 'udp',
  };
}

function nodeOf({ topology }: Lab, entity: string): string | null {
  const pod = topology.pods.find(({ namespace, name }) => `${namespace}/${name}` === entity);
  return pod?.node ?? topology.nodes.find(({ name }) => name === entity)?.name ?? null;
}
