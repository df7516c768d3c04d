import { deleteConntrackEntries } from './delete-conntrack-entries/index.ts';
import { deleteFilterRule } from './delete-filter-rule/index.ts';
import { deleteKubeRules } from './delete-kube-rules/index.ts';
import { deleteNeighbour } from './delete-neighbour/index.ts';
import { disableTxChecksum } from './disable-tx-checksum/index.ts';
import { flushNeighbour } from './flush-neighbour/index.ts';
import { killProcess } from './kill-process/index.ts';
import { moveFlannelPort } from './move-flannel-port/index.ts';
import { raiseConntrackMax } from './raise-conntrack-max/index.ts';
import { raiseNeighbourLimits } from './raise-neighbour-limits/index.ts';
import type { AnyRemedy } from './remedy.ts';
import { restartFlannel } from './restart-flannel/index.ts';
import { restartFlannelOnNodes } from './restart-flannel-on-nodes/index.ts';
import { restartKubeProxy } from './restart-kube-proxy/index.ts';
import { setBridgeNetfilter } from './set-bridge-netfilter/index.ts';
import { setFlannelHostGw } from './set-flannel-host-gw/index.ts';
import { setIpForward } from './set-ip-forward/index.ts';
import { setLinkUp } from './set-link-up/index.ts';
import { setLocalPortRange } from './set-local-port-range/index.ts';
import { setMtu } from './set-mtu/index.ts';
import { setRpFilter } from './set-rp-filter/index.ts';
import { stopFirewall } from './stop-firewall/index.ts';

/** Every remedy, by its id and folder. A test compares this map with the directory. */
export const REMEDIES: Readonly<Record<string, AnyRemedy>> = {
  'delete-conntrack-entries': deleteConntrackEntries,
  'delete-filter-rule': deleteFilterRule,
  'delete-kube-rules': deleteKubeRules,
  'delete-neighbour': deleteNeighbour,
  'disable-tx-checksum': disableTxChecksum,
  'flush-neighbour': flushNeighbour,
  'kill-process': killProcess,
  'move-flannel-port': moveFlannelPort,
  'raise-conntrack-max': raiseConntrackMax,
  'raise-neighbour-limits': raiseNeighbourLimits,
  'restart-flannel': restartFlannel,
  'restart-flannel-on-nodes': restartFlannelOnNodes,
  'restart-kube-proxy': restartKubeProxy,
  'set-bridge-netfilter': setBridgeNetfilter,
  'set-flannel-host-gw': setFlannelHostGw,
  'set-ip-forward': setIpForward,
  'set-link-up': setLinkUp,
  'set-local-port-range': setLocalPortRange,
  'set-mtu': setMtu,
  'set-rp-filter': setRpFilter,
  'stop-firewall': stopFirewall,
};
