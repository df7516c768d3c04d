import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { snapshot } from '../lab/faults/healthy.ts';
import { HARMLESS } from '../lab/harmless/index.ts';
import { createLab, type Lab } from '../lab/lab.ts';
import { diagnoseLab } from './diagnose.ts';

/*
 * Clusters that are healthy and unusual: no check may see a fault in them, and nothing of them may be left unchecked.
 */

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('a healthy cluster', () => {
  let lab: Lab;
  let before: Awaited<ReturnType<typeof snapshot>>;

  beforeAll(async () => {
    lab = await createLab({ nodes: 3 });
    before = await snapshot(lab);
  });

  afterAll(() => lab?.down());

  test.each(Object.values(HARMLESS))('$name: $title', async ({ inject, prove, heal, risks = [] }) => {
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
