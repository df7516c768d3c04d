import { describe, expect, test } from 'vitest';
import { judge } from '../../src/diagnosis/judge.ts';
import type { Fault } from '../lab/faults/fault.ts';
import { expectHealthy, snapshot } from '../lab/faults/healthy.ts';
import { FAULTS, healFault, injectFault, networksOf } from '../lab/faults/index.ts';
import { NetworkKind } from '../lab/topology.ts';
import { diagnoseLab, mismatches } from './diagnose.ts';
import { sharedLab } from './shared-lab.ts';

/*
 * Every fault of the lab, one after another in one cluster of each kind that it can be in: that its proof fails without
 * it, what the verdict says while it is there, that the verdict can be computed again from its bundle, and that healing
 * leaves nothing. What a fault left behind all the same, the next verdict would tell.
 */

/** After so many faults the cluster is diagnosed without any. */
const BETWEEN = 20;

/** Specs that share the faults among themselves, each with labs of its own: two run at once. */
const SPECS = 4;

/** The tests of one share of the faults, 0 to SPECS - 1. */
export function testEveryFault(share: number): void {
  for (const network of NetworkKind.options) {
    const all = Object.values(FAULTS).filter((fault) => networksOf(fault).includes(network));
    const own = all.filter((_, index) => index % SPECS === share);
    if (own.length === 0) continue;
    describe.skipIf(process.env['NETCHECK_LAB_MISSING'])(`with ${network}`, () => {
      testFaults(network, own);
    });
  }
}

function testFaults(network: NetworkKind, faults: readonly Fault[]): void {
  let before: Awaited<ReturnType<typeof snapshot>>;
  const shared = sharedLab({ nodes: 4, network }, async (lab) => {
    await expectHealthy(lab);
    before = await snapshot(lab);
  });

  async function diagnoseHealthy(): Promise<void> {
    const { verdict } = await diagnoseLab(shared());
    const { status, causes, risks, notChecked, symptoms } = verdict;
    expect({ status, causes, risks, notChecked, symptoms }).toEqual({
      status: 'healthy',
      causes: [],
      risks: [],
      notChecked: [],
      symptoms: [],
    });
  }

  test('a healthy cluster is healthy, with nothing left out', diagnoseHealthy);

  test.each(faults.map((fault, index) => [fault.name, fault, index] as const))('%s', async (name, fault, index) => {
    const lab = shared();
    // A sentence about what it saw, not a mistake of its own.
    await expect(fault.prove(lab, { node: 'node-2', peer: 'node-3' })).rejects.toSatisfy(
      (error: unknown) => error instanceof Error && Object.getPrototypeOf(error) === Error.prototype,
    );
    const { at } = await injectFault(lab, name);
    const { verdict, bundle } = await diagnoseLab(lab, fault.request?.(lab, at));
    await healFault(lab, name);
    expect({ wrong: mismatches(verdict, fault.expects(lab, at)), headline: verdict.headline }).toEqual({
      wrong: [],
      headline: verdict.headline,
    });
    expect(JSON.stringify(judge(JSON.parse(JSON.stringify(bundle))))).toBe(JSON.stringify(verdict));
    expect(await snapshot(lab)).toEqual(before);
    if (index % BETWEEN === BETWEEN - 1 || index === faults.length - 1) await diagnoseHealthy();
  });
}
