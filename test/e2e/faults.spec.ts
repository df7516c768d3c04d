import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { judge } from '../../src/diagnosis/judge.ts';
import { FAULTS, healFault, injectFault, networksOf } from '../lab/faults/index.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import { NetworkKind } from '../lab/topology.ts';
import { diagnoseLab, mismatches } from './diagnose.ts';

/*
 * Every fault of the lab, one after another in one cluster of each kind that it can be in: what the verdict says while it is there, that the verdict can
 * be computed again from its bundle, and that all is well once it is healed.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING']).each(NetworkKind.options)('with %s', (network) => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await createLab({ nodes: 4, network });
  });

  afterAll(async () => {
    await lab?.down();
  });

  async function expectHealthy(): Promise<void> {
    const { verdict } = await diagnoseLab(lab);
    expect({
      status: verdict.status,
      causes: verdict.causes,
      risks: verdict.risks,
      notChecked: verdict.notChecked,
      symptoms: verdict.symptoms,
    }).toEqual({
      status: 'healthy',
      causes: [],
      risks: [],
      notChecked: [],
      symptoms: [],
    });
  }

  test('a healthy cluster is healthy, with nothing left out', expectHealthy);

  for (const [name, fault] of Object.entries(FAULTS)) {
    if (!networksOf(fault).includes(network)) continue;
    test(`${name}: ${fault.title}`, async () => {
      const { at } = await injectFault(lab, name);
      const { verdict, bundle } = await diagnoseLab(lab);
      await healFault(lab, name);
      expect({ wrong: mismatches(verdict, fault.expects(lab, at)), headline: verdict.headline }).toEqual({
        wrong: [],
        headline: verdict.headline,
      });
      expect(JSON.stringify(judge(JSON.parse(JSON.stringify(bundle))))).toBe(JSON.stringify(verdict));
      await expectHealthy();
    });
  }
});
