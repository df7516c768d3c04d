import { nodeEntity, podEntity } from '../../../model/entity.ts';
import { denies } from '../../kit/policy.ts';
import { defineProbe, fromNode, fromPod, probe } from '../../kit/probe.ts';

/** Packets that are sent to a target at most: it is asked again only while it does not answer. */
const PACKETS = 3;

/**
 * N14: packets as large as the sender's device allows, with Don't Fragment set, between nodes and between pods. A path
 * that loses them without a word is a black hole for every connection that carries more than a few bytes.
 */
export const fullSizePackets = defineProbe({
  id: 'full-size-packets',
  row: 'N14',
  layer: 'L3',
  title: 'Packets of full size',
  why: 'Handshakes pass and transfers hang when large packets are lost in silence.',
  plan: ({ pairs, inventory }) =>
    pairs.flatMap(([source, target]) => {
      const probes = [];
      const uplink = source.network?.uplink;
      if (uplink != null) {
        probes.push(
          probe(fullSizePackets, {
            method: 'ping',
            subject: nodeEntity(source.node.name),
            target: nodeEntity(target.node.name),
            from: fromNode(source),
            on: target.node.name,
            ip: target.ip,
            count: PACKETS,
            bytes: Math.min(uplink.mtu, target.network?.uplink?.mtu ?? uplink.mtu),
          }),
        );
      }
      const here = source.probePod;
      const there = target.probePod;
      const overlay = source.network?.overlay ?? source.network?.bridge;
      if (here !== null && there !== null && overlay != null) {
        const bridge = source.network?.bridge ?? overlay;
        const remote = target.network?.overlay ?? target.network?.bridge ?? overlay;
        probes.push(
          probe(fullSizePackets, {
            method: 'ping',
            subject: podEntity(here.namespace, here.name),
            target: podEntity(there.namespace, there.name),
            from: fromPod(source, here),
            on: target.node.name,
            ip: there.ip,
            count: PACKETS,
            bytes: Math.min(overlay.mtu, bridge.mtu, remote.mtu),
            denied: denies(inventory, here, there, 'ICMP'),
          }),
        );
      }
      return probes;
    }),
});
