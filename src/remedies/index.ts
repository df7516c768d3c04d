import { deleteConntrackEntries } from './delete-conntrack-entries/index.ts';
import { deleteFilterRule } from './delete-filter-rule/index.ts';
import { deleteKubeRules } from './delete-kube-rules/index.ts';
import { deleteNeighbour } from './delete-neighbour/index.ts';
import { disableTxChecksum } from './disable-tx-checksum/index.ts';
import { flushNeighbour } from './flush-neighbour/index.ts';
import { killProcess } from './kill-process/index.ts';
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
import { stopFirewall } from './stop-firewall/index.ts';

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
  'delete-neighbour': deleteNeighbour,
  'delete-conntrack-entries': deleteConntrackEntries,
  'kill-process': killProcess,
  'stop-firewall': stopFirewall,
  'delete-kube-rules': deleteKubeRules,
};
