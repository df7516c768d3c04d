import { nodeEntity } from '../../../model/entity.ts';
import { defineProbe, probe } from '../../kit/probe.ts';

/**
 * N24: the connection that the run itself needs: API server to the kubelet of every node, shown by its agent answering
 * or by the API server's own error. Mere silence proves nothing, a kubelet may hang; the node's peers say more then.
 */
export const apiServerToKubelet = defineProbe({
  id: 'api-server-to-kubelet',
  row: 'N24',
  layer: 'L4',
  title: 'API server to every kubelet',
  why: 'exec, logs and port-forward go this way, and so does every run of netcheck.',
  plan: ({ targets, inventory }) => {
    const server = inventory.endpoints.find(
      ({ namespace, service, ready }) => namespace === 'default' && service === 'kubernetes' && ready,
    );
    const ip = server?.ip;
    if (ip === undefined) return [];
    return targets
      .filter((target) => target.ip !== ip)
      .map((target) =>
        probe(apiServerToKubelet, {
          method: 'exec',
          subject: { kind: 'Address', name: `the API server ${ip}` },
          target: nodeEntity(target.node.name),
          from: { node: target.node.name, pod: null, ip },
          on: target.node.name,
          ip: target.ip,
          port: target.node.kubeletPort,
          count: 1,
        }),
      );
  },
});
