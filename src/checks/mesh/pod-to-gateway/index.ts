import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { bridgeAddress } from '../../kit/node-network.ts';
import { defineProbe, fromPod, pingAndTcp } from '../../kit/probe.ts';

/** M2: from netcheck's pod to its own node's bridge: the pod's own link, apart from everything beyond it. */
export const podToGateway = defineProbe({
  id: 'pod-to-gateway',
  row: 'M2',
  layer: 'L3',
  title: 'Pod to its own node',
  why: 'A pod that cannot reach its own node has a broken link, whatever the network beyond does.',
  plan: ({ sources, count }) =>
    sources.flatMap((source) => {
      const pod = source.probePod;
      if (pod === null || source.podCIDR === null || source.network?.bridge == null) return [];
      const ends = {
        subject: podEntity(pod.namespace, pod.name),
        target: nodeEntity(source.node.name),
        from: fromPod(source, pod),
        on: source.node.name,
        ip: bridgeAddress(source.podCIDR, source.network.bridge),
      };
      return pingAndTcp(podToGateway, ends, { count }, { port: source.node.kubeletPort, listens: true, ifSilent: true });
    }),
});
