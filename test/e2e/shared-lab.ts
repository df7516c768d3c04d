import { afterAll, afterEach, beforeEach } from 'vitest';
import { createLab, type Lab, type LabOptions } from '../lab/lab.ts';

/**
 * A lab for the tests of a block, which share it while they pass: one that failed may have left something in it, so the
 * next one, or its own second try, has another. `ready` is awaited for each.
 */
export function sharedLab(options: LabOptions, ready?: (lab: Lab) => Promise<void>): () => Lab {
  let lab: Lab | null = null;

  beforeEach(async () => {
    if (lab !== null) return;
    lab = await createLab(options);
    await ready?.(lab);
  });

  afterEach(async ({ task }) => {
    if (task.result?.state !== 'pass') await down();
  });

  afterAll(down);

  async function down(): Promise<void> {
    const last = lab;
    lab = null;
    await last?.down();
  }

  return () => {
    if (lab === null) throw new Error('there is a lab in tests and in what runs before each of them only');
    return lab;
  };
}
