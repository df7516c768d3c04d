import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import type { Action, RemedyOutcome, RemedyPlan } from '../../src/model/remedy.ts';
import { REMEDIES } from '../../src/remedies/index.ts';
import { propose } from '../../src/remedies/propose.ts';
import { createRemediate } from '../../src/remedies/remediate.ts';
import { approved, makeAction, makeApprovalKeys } from '../action.ts';
import type { At } from '../lab/faults/fault.ts';
import { expectHealthy, snapshot } from '../lab/faults/healthy.ts';
import { FAULTS } from '../lab/faults/index.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import type { NetworkKind } from '../lab/topology.ts';
import { diagnoseLab } from './diagnose.ts';

/*
 * Every remedy in a cluster that has what it mends: offered by a diagnosis, carried out by the node's own agent, healed;
 * taken back where that is promised, to the byte; and refused once there is nothing left to mend.
 */

/** A fault that a remedy mends, and what the remedy runs against it; `at` where it is not put where faults go by default. */
type Row = {
  readonly remedy: string;
  readonly fault: string;
  readonly code: string;
  readonly at?: Partial<At>;
  readonly network?: NetworkKind;
  /** Why it is refused once the fault is gone. */
  readonly obsolete: RegExp;
  readonly commands: (lab: Lab, at: At) => readonly (readonly string[])[];
};

const ROWS: readonly Row[] = [
  {
    remedy: 'set-ip-forward',
    fault: 'ip-forward-off',
    code: 'ip-forward-off',
    obsolete: /forwarding is on already/,
    commands: () => [['sysctl', '-w', 'net/ipv4/ip_forward=1']],
  },
  {
    remedy: 'flush-neighbour',
    fault: 'stale-neighbour',
    code: 'stale-neighbour',
    obsolete: /there is no entry|has the MAC address .* by now/,
    commands: (lab, { peer }) => [['ip', 'neighbour', 'flush', 'to', lab.node(peer).ip, 'dev', 'eth0']],
  },
];

const NODES = 4;
const keys = makeApprovalKeys();

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('remedies in a lab', () => {
  const networks = [...new Set(ROWS.map(networkOf))];
  describe.each(networks)('with %s', (network) => {
    testRemedies(
      network,
      ROWS.filter((row) => networkOf(row) === network),
    );
  });
});

function networkOf({ network = 'vxlan' }: Row): NetworkKind {
  return network;
}

function testRemedies(network: NetworkKind, rows: readonly Row[]): void {
  let lab: Lab;

  beforeAll(async () => {
    lab = await createLab({ nodes: NODES, network, approvalKey: keys.publicKey });
    await expectHealthy(lab);
  });

  afterAll(() => lab?.down());

  test.each(rows.map((row) => [row.remedy, row.fault, row] as const))('%s mends %s', async (_remedy, _fault, row) => {
    const isWhole = await state(lab);
    const at = await lab.fault(row.fault, row.at);
    const isBroken = await state(lab);
    const plan = await offered(lab, row, at);
    expect(plan.commands).toEqual(row.commands(lab, at));

    const action = actionOf(lab, plan);
    const outcome = await carriedOut(lab, action);
    expect([outcome.outcome, outcome.reason]).toEqual(['healed', null]);
    const { verdict } = await diagnoseLab(lab, FAULTS[row.fault]?.request?.(lab, at));
    const left = [...verdict.causes, ...verdict.risks].filter(({ code }) => code === row.code);
    expect([verdict.status, left]).toEqual(['healthy', []]);

    expect(await takenBack(lab, action, outcome)).toEqual(
      REMEDIES[row.remedy]?.undo === null ? null : { outcome: 'undone', reason: null, left: isBroken },
    );

    await lab.heal(row.fault);
    expect(await state(lab)).toEqual(isWhole);
    const late = await carriedOut(lab, actionOf(lab, plan));
    expect([late.outcome, late.reason]).toEqual(['refused', expect.stringMatching(row.obsolete)]);
    expect(await state(lab)).toEqual(isWhole);
  });
}

/** All that could be changed on the nodes, but for what they remember of actions. */
async function state(lab: Lab): Promise<Readonly<Record<string, string>>> {
  const texts = Object.entries(await snapshot(lab));
  return Object.fromEntries(texts.map(([node, text]) => [node, text.replaceAll(/^\/var\/lib\/netcheck\/.*\n/gm, '')]));
}

/** The plan for the remedy of this row that a diagnosis offers. Throws when there is none. */
async function offered(lab: Lab, { remedy, fault, code }: Row, at: At): Promise<RemedyPlan> {
  const { verdict, bundle } = await diagnoseLab(lab, FAULTS[fault]?.request?.(lab, at));
  const plans = propose(verdict, bundle);
  const plan = plans.find((each) => each.remedy === remedy && each.finding.code === code);
  if (plan === undefined)
    throw new Error(
      `${verdict.headline}: no ${remedy} for ${code} is offered, but ${JSON.stringify(plans.map((each) => [each.remedy, each.finding.code]))}`,
    );
  return plan;
}

/** An action as the bot makes one of a plan, approved by somebody. */
function actionOf(lab: Lab, plan: RemedyPlan): Action {
  return approved(makeAction({ ...plan, id: `a${randomUUID()}`, cluster: lab.name }), keys);
}

/** Undoes an action, where that is offered, and says how that ended and what it left. */
async function takenBack(lab: Lab, action: Action, outcome: RemedyOutcome): Promise<object | null> {
  if (outcome.undo.length === 0) return null;
  const undo = actionOf(lab, { ...action, commands: outcome.undo, undoes: action.id, verification: [] });
  const { outcome: ended, reason } = await carriedOut(lab, undo, outcome);
  return { outcome: ended, reason, left: await state(lab) };
}

/** Carries an action out as a worker does, with no more rights than a worker has; `first` is the outcome that it undoes. */
async function carriedOut(lab: Lab, action: Action, first?: RemedyOutcome): Promise<RemedyOutcome> {
  const { kubeconfig, name } = lab;
  const opened = createKubernetesCluster({ kubeconfig, context: `${name}-worker`, log: { debug: () => {} } });
  if (!opened.ok) throw new Error(opened.fault.message);
  const cluster = opened.value;
  try {
    return await createRemediate({ cluster })(action, {
      signal: new AbortController().signal,
      onStep: () => {},
      recall: async () => first?.states ?? null,
    });
  } finally {
    await cluster.close();
  }
}
