import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLab, type Lab } from '../lab.ts';
import { expectHealthy, snapshot } from './healthy.ts';
import { FAULTS } from './index.ts';

/** Faults of the API server: no packet shows them, so their proof is what the API server says. */
describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('each fault, on one lab of four nodes', () => {
  let lab: Lab;
  let before: Awaited<ReturnType<typeof snapshot>>;

  beforeAll(async () => {
    lab = await createLab({ nodes: 4 });
    await expectHealthy(lab);
    before = await snapshot(lab);
  });

  afterAll(() => lab.down());

  test.each(Object.values(FAULTS))('$name: its proof fails on a healthy lab', async (fault) => {
    await expect(fault.prove(lab, { node: 'node-2', peer: 'node-3' })).rejects.toThrow(
      /must|does not answer ARP|not switched on/,
    );
  });

  test.each(Object.keys(FAULTS))('%s: is there when it is put in, and leaves nothing when it is healed', async (name) => {
    // Putting it in proves that it is there.
    await lab.fault(name);
    await lab.heal(name);
    await expectHealthy(lab);
    expect(await snapshot(lab)).toEqual(before);
  });

  test('the names are those of the map, and every row is one of the catalogue', () => {
    const wrong = Object.entries(FAULTS).filter(([name, fault]) => name !== fault.name || !/^[A-Z]\d*$/.test(fault.row));
    expect(wrong).toEqual([]);
  });
});
