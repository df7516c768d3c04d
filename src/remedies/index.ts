import { deleteFilterRule } from './delete-filter-rule/index.ts';
import { flushNeighbour } from './flush-neighbour/index.ts';
import type { AnyRemedy } from './remedy.ts';
import { restartFlannel } from './restart-flannel/index.ts';
import { setIpForward } from './set-ip-forward/index.ts';

/** Every remedy, by its id and folder. A test compares this map with the directory. */
export const REMEDIES: Readonly<Record<string, AnyRemedy>> = {
  'set-ip-forward': setIpForward,
  'flush-neighbour': flushNeighbour,
  'restart-flannel': restartFlannel,
  'delete-filter-rule': deleteFilterRule,
};
