import { describe, expect, test } from 'vitest';
import { snapshot } from '../lab/faults/healthy.ts';
import { HARMLESS } from '../lab/harmless/index.ts';
import { diagnoseLab } from './diagnose.ts';
import { sharedLab } from './shared-lab.ts';

/*
 * Clusters that are healthy and unusual: no check may see a fault in them, and nothing of them may be left unchecked.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('a healthy cluster', () => {
  let before: Awaited<ReturnType<typeof snapshot>>;
  const shared = sharedLab({ nodes: 3 }, async (lab) => {
    before = await snapshot(lab);
  });

  test.each(Object.values(HARMLESS))('$name: $title', async ({ inject, prove, heal, risks = [] }) => {
    const lab = shared();
    try {
      await inject(lab);
      await prove(lab);
      const { verdict } = await diagnoseLab(lab);
      expect({
        status: verdict.status,
        causes: verdict.causes,
        risks: verdict.risks.filter(({ code }) => !risks.includes(code)),
        symptoms: verdict.symptoms,
        notChecked: verdict.notChecked,
      }).toEqual({ status: 'healthy', causes: [], risks: [], symptoms: [], notChecked: [] });
    } finally {
      await heal(lab);
    }
    expect(await snapshot(lab)).toEqual(before);
  });
});
