import type { Dataplane } from '../dataplane.ts';
import { portOf } from '../view.ts';

/** Services by kube-proxy: the node where a packet enters the stack picks one ready endpoint, at random. */
export const kubeProxy: Dataplane = {
  id: 'kube-proxy',
  detect: (view) => view.inventory.services.length > 0,
  translate(view, packet) {
    const service = view.serviceByAddress(packet.dst);
    if (service === undefined || packet.dport === undefined) return null;
    const port = packet.dport;
    return view.endpointsOf(service, port).map((endpoint) => ({
      ...packet,
      dst: endpoint.ip,
      dport: portOf(service, endpoint, port) ?? port,
    }));
  },
};
