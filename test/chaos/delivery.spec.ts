import { expect, test } from 'vitest';
import { deliverUnder, FAULTS, type FaultName } from './delivery.ts';

const runs = Number(process.env['NETCHECK_CHAOS_RUNS'] ?? 12);
const clean = { accepted: runs, missing: [], doubleRoots: [], doubleReplies: [], missingReplies: [] };

test.each(Object.keys(FAULTS) as FaultName[])(
  'no verdict is lost and none shows twice: %s',
  async (fault) => {
    expect(await deliverUnder(fault, { runs, channels: 4, share: 0.25, seed: 7 })).toEqual(clean);
  },
  120_000 + runs * 500,
);
