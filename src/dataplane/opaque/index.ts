import { nodePlace } from '../../model/hop.ts';
import type { Dataplane } from '../dataplane.ts';
import { crossLink } from '../linux-host/index.ts';

/**
 * What netcheck does not model inside: a pod network that no other dataplane claims. It is one opaque hop on either
 * node; faults are localised to it, not in it.
 */
export const opaque: Dataplane = {
  id: 'opaque',
  detect: () => true,
  attach(_view, node, _pod, packet, direction) {
    const dir = direction === 'to-pod' ? 'out' : 'in';
    return [{ hop: { place: nodePlace(node.name), point: 'opaque', dev: 'pod network', dir }, packet }];
  },
  bridge: (_view, node, _from, _to, packet) => [
    { hop: { place: nodePlace(node.name), point: 'opaque', dev: 'pod network' }, packet },
  ],
  carry(view, from, to) {
    if (from.ip === null || to.ip === null) return null;
    const fromIp = from.ip;
    const toIp = to.ip;
    return {
      oif: 'pod network',
      iif: 'pod network',
      source: from.ip,
      steps: (packet) => [
        { hop: { place: nodePlace(from.name), point: 'opaque', dev: 'pod network', dir: 'out' }, packet },
        ...crossLink(view, fromIp, toIp, packet),
        { hop: { place: nodePlace(to.name), point: 'opaque', dev: 'pod network', dir: 'in' }, packet },
      ],
    };
  },
};
