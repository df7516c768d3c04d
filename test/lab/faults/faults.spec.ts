import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLab, type Lab } from '../lab.ts';
import { NetworkKind } from '../topology.ts';
import { expectHealthy, snapshot } from './healthy.ts';
import { FAULTS, networksOf } from './index.ts';

/** Faults of the API server: no packet shows them, so their proof is what the API server says. */
describe.skipIf(process.env['NETCHECK_LAB_MISSING']).each(NetworkKind.options)(
  'each fault of %s, on one lab of four nodes',
  (network) => {
    const faults = Object.values(FAULTS).filter((fault) => networksOf(fault).includes(network));

    let lab: Lab;
    let before: Awaited<ReturnType<typeof snapshot>>;

    beforeAll(async () => {
      lab = await createLab({ nodes: 4, network });
      await expectHealthy(lab);
      before = await snapshot(lab);
    });

    afterAll(() => lab.down());

    test.each(faults)('$name: its proof fails on a healthy lab', async (fault) => {
      await expect(fault.prove(lab, { node: 'node-2', peer: 'node-3' })).rejects.toThrow(
        /must|does not answer ARP|not switched on/,
      );
    });

    test.each(faults.map(({ name }) => name))(
      '%s: is there when it is put in, and leaves nothing when it is healed',
      async (name) => {
        // Putting it in proves that it is there.
        await lab.fault(name);
        await lab.heal(name);
        await expectHealthy(lab);
        expect(await snapshot(lab)).toEqual(before);
      },
    );
  },
);

test('the names are those of the map, and every row is one of the catalogue', () => {
  const wrong = Object.entries(FAULTS).filter(([name, fault]) => name !== fault.name || !/^[A-Z]\d*$/.test(fault.row));
  expect(wrong).toEqual([]);
});
