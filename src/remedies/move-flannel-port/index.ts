import { flannelBackend } from '../kit/flannel-backend.ts';

/** F1: the overlay leaves the UDP port that something between the nodes drops. */
export const moveFlannelPort = flannelBackend({
  id: 'move-flannel-port',
  title: 'Move flannel to another UDP port',
  risk: 'From the first node to the last, nodes with the old port and nodes with the new one do not reach each other’s pods; each takes as long as its flannel pod takes to start. The new port has to be open between all nodes.',
});
