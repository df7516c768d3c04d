import { flannelBackend } from '../kit/flannel-backend.ts';

/** F1: no overlay at all, where every node reaches every other one without a router. */
export const setFlannelHostGw = flannelBackend({
  id: 'set-flannel-host-gw',
  title: 'Set flannel to host-gw',
  risk: 'From the first node to the last, nodes with VXLAN and nodes with host-gw do not reach each other’s pods. The network between the nodes has to let packets with pod addresses through; clouds often drop them. New pods get a larger MTU than the old ones.',
});
