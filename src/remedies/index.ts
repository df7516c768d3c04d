import { deleteFilterRule } from './delete-filter-rule/index.ts';
import { disableTxChecksum } from './disable-tx-checksum/index.ts';
import { flushNeighbour } from './flush-neighbour/index.ts';
import { raiseConntrackMax } from './raise-conntrack-max/index.ts';
import { raiseNeighbourLimits } from './raise-neighbour-limits/index.ts';
import type { AnyRemedy } from './remedy.ts';
import { restartFlannel } from './restart-flannel/index.ts';
import { setBridgeNetfilter } from './set-bridge-netfilter/index.ts';
import { setIpForward } from './set-ip-forward/index.ts';
import { setLinkUp } from './set-link-up/index.ts';
import { setLocalPortRange } from './set-local-port-range/index.ts';
import { setMtu } from './set-mtu/index.ts';
import { setRpFilter } from './set-rp-filter/index.ts';

/** Every remedy, by its id and folder. A test compares this map with the directory. */
export const REMEDIES: Readonly<Record<string, AnyRemedy>> = {
  'set-ip-forward': setIpForward,
  'flush-neighbour': flushNeighbour,
  'restart-flannel': restartFlannel,
  'delete-filter-rule': deleteFilterRule,
  'raise-conntrack-max': raiseConntrackMax,
  'raise-neighbour-limits': raiseNeighbourLimits,
  'set-rp-filter': setRpFilter,
  'set-bridge-netfilter': setBridgeNetfilter,
  'set-local-port-range': setLocalPortRange,
  'set-link-up': setLinkUp,
  'set-mtu': setMtu,
  'disable-tx-checksum': disableTxChecksum,
};
