import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { allParsed, type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { parseBridged } from '../../kit/netfilter/facts.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES, BRIDGE_CALLS_IPTABLES, readingText } from '../../kit/readings.ts';

/** `exists` is false where the kernel has no such setting, since br_netfilter is not loaded. */
type Facts = { readonly bridged: boolean; readonly exists: boolean; readonly links: readonly Link[] };

const KEY = 'net.bridge.bridge-nf-call-iptables';
const PROBE = 'pod-to-service-on-node';

/** N19. Source: "Network plugin requirements", kubernetes.io; br_nf_pre_routing in the kernel's br_netfilter_hooks.c. */
export const bridgeNetfilterOff = defineCheck({
  id: 'bridge-netfilter-off',
  row: 'N19',
  layer: 'L4',
  scope: 'cluster',
  title: 'Bridged packets bypass connection tracking',
  why: 'A pod that asks a Service is answered by a pod of the same node past the translation, and throws the answer away.',
  codes: {
    'bridge-netfilter-off':
      'net.bridge.bridge-nf-call-iptables is 0, or br_netfilter is not loaded, and Services do not work within the node.',
  },
  params: z.strictObject({}),
  collect: { bridgeCalls: BRIDGE_CALLS_IPTABLES, addresses: ADDRESSES },
  parse: ({ bridgeCalls, addresses }) =>
    allParsed<Facts>({
      bridged: parseBridged(bridgeCalls),
      exists: ok(bridgeCalls.exitCode === 0),
      links: parseLinks(addresses),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) => {
    const offs = [...facts].flatMap(([node, { bridged, exists, links }]) => {
      const { bridge } = networkOf(inventory, node, links);
      const asked = probed.filter(({ probe }) => probe.check === PROBE && probe.from.node === node);
      return bridged || bridge === null || inventory.services.length === 0 ? [] : [{ node, bridge: bridge.name, exists, asked }];
    });
    // Where every packet is masqueraded, or another dataplane does the Services, it works like this too.
    const isNeedless = offs.some(({ asked }) => asked.length > 0 && asked.every(({ result }) => result.status === 'pass'));
    return isNeedless ? [] : offs.map(off);
  },
});

type Off = { readonly node: string; readonly bridge: string; readonly exists: boolean; readonly asked: readonly Probed[] };

function off({ node, bridge, exists, asked }: Off): Draft {
  const failed = asked.filter(({ result }) => result.status === 'fail');
  return {
    code: 'bridge-netfilter-off',
    entity: nodeEntity(node),
    // Of all that is translated on the node, only an answer of one of its own pods comes from the bridge.
    at: [{ place: nodePlace(node), point: 'bridge', dev: bridge, dir: 'in' }],
    harms: [{ dnat: true, state: 'established' }],
    certainty: failed.length > 0 ? 'certain' : 'suspect',
    severity: failed.length > 0 ? 'critical' : 'warning',
    summary: `frames that stay on ${bridge} of ${node} are not shown to iptables (${KEY} is not 1): what a pod there asks of a Service, and a pod of the same node answers, is lost`,
    advice: `Load br_netfilter (modprobe br_netfilter) and set ${KEY} = 1, and keep both: a file in /etc/modules-load.d and one in /etc/sysctl.d.`,
    evidence: [
      {
        where: node,
        source: readingText(BRIDGE_CALLS_IPTABLES),
        text: exists ? '0' : 'no such file: br_netfilter is not loaded',
      },
      ...failed.map(({ probe, result }) => ({
        where: probe.from.pod ?? node,
        source: probe.id,
        text: `${result.delivered} of ${result.sent} queries to the Service answered`,
      })),
    ],
    remedy: { id: 'set-bridge-netfilter', node, params: exists ? {} : { load: 'br_netfilter' } },
  };
}
