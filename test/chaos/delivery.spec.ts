import { expect, test } from 'vitest';
import { count, proves } from '../promises/counts.ts';
import { deliverUnder, FAULTS, type FaultName } from './delivery.ts';

const runs = count(12, 1_000);
const clean = { accepted: runs, missing: [], doubleRoots: [], doubleReplies: [], missingReplies: [] };

test.for(Object.keys(FAULTS) as FaultName[])(
  'no verdict is lost and none shows twice: %s',
  { timeout: 120_000 + runs * 1_000 },
  async (fault, { task }) => {
    expect(await deliverUnder(fault, { runs, channels: 4, share: 0.25, seed: 7 })).toEqual(clean);
    proves(task, 2, `${runs} runs with ${fault}, 0 lost, 0 twice`);
  },
);
