import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { type Draft, defineCheck } from '../../kit/check.ts';
import { annotationName, clusterConf, flannelAnnotation, restartFlannel } from '../../kit/flannel.ts';
import { PROXY_COLLECT, type ProxyMode, parseProxyModes } from '../../kit/proxy-mode.ts';

/** C1. Source: kubernetes, pkg/proxy (each mode ignores the rules of the others); flannel, pkg/backend (leases of another type are ignored). */
export const nodesDisagree = defineCheck({
  id: 'nodes-disagree',
  row: 'C1',
  layer: 'L4',
  scope: 'cluster',
  title: 'Nodes differ in how they carry Services or pods',
  why: 'A node of another kind than the rest works by rules of its own, or is not understood by the others.',
  codes: {
    'proxy-mode-differs': 'kube-proxy on a node works in another mode than on the others, or rules of two modes are there.',
    'flannel-backend-differs': "flannel on a node uses another backend than the cluster: neither knows the other's pods (L3).",
  },
  params: z.strictObject({}),
  collect: PROXY_COLLECT,
  parse: parseProxyModes,
  evaluate: (facts: ReadonlyMap<string, readonly ProxyMode[]>, { inventory }) => [
    ...proxyModes(facts),
    ...(facts.size === 0 ? [] : backends(inventory)),
  ],
});

function proxyModes(facts: ReadonlyMap<string, readonly ProxyMode[]>): readonly Draft[] {
  // A node without any rules of kube-proxy is another fault.
  const seen = [...facts].filter(([, modes]) => modes.length > 0).map(([node, modes]) => ({ node, modes: modes.join(' and ') }));
  const usual = most(seen.map(({ modes }) => modes));
  if (usual === null) return [];
  return seen
    .filter(({ modes }) => modes !== usual)
    .map(({ node, modes }) => ({
      code: 'proxy-mode-differs',
      entity: nodeEntity(node),
      at: [{ place: nodePlace(node), point: 'nat' }],
      harms: [],
      severity: 'warning',
      summary: modes.includes(' and ')
        ? `${node} has the rules of kube-proxy in ${modes} mode, the other nodes those of ${usual} mode only: old ones were left`
        : `kube-proxy on ${node} works in ${modes} mode, on the other nodes in ${usual} mode`,
      advice: `Compare the configuration of kube-proxy (ConfigMap kube-system/kube-proxy, mode) with what its pod on ${node} was started with; rules of the mode before stay until kube-proxy --cleanup or a reboot, and still change packets.`,
      evidence: [
        { where: node, source: 'packet filter rules and devices', text: `kube-proxy: ${modes}` },
        { where: 'cluster', source: `${seen.filter((other) => other.modes === usual).length} other nodes`, text: usual },
      ],
    }));
}

function backends(inventory: Inventory): readonly Draft[] {
  const seen = inventory.nodes.flatMap((node) => {
    const type = flannelAnnotation(node, 'backend-type');
    return type === null ? [] : [{ node, type }];
  });
  const usual = clusterConf(inventory)?.backend.type ?? most(seen.map(({ type }) => type));
  if (usual === null || !seen.some(({ type }) => type === usual)) return [];
  return seen
    .filter(({ type }) => type !== usual)
    .map(({ node, type }) => ({
      code: 'flannel-backend-differs',
      layer: 'L3',
      entity: nodeEntity(node.name),
      at: [{ place: nodePlace(node.name), point: 'tunnel' as const }],
      harms: [{}],
      summary: `flannel on ${node.name} uses the backend ${type}, on the other nodes ${usual}: they do not know of each other's pods`,
      advice: `Restart flannel on ${node.name}: it takes the backend of net-conf.json, and the others learn of it.`,
      evidence: [
        { where: 'Kubernetes API', source: `Node ${node.name}, ${annotationName('backend-type')}`, text: type },
        {
          where: 'cluster',
          source: clusterConf(inventory)?.source ?? 'the other nodes',
          text: `${usual}, as on ${seen.filter((other) => other.type === usual).length} nodes`,
        },
      ],
      remedy: restartFlannel(inventory, node.name),
    }));
}

/** The value that more have than any other, or null. */
function most(values: readonly string[]): string | null {
  const groups = [...Map.groupBy(values, (value) => value).values()].sort((a, b) => b.length - a.length);
  const [first, second] = groups;
  return first === undefined || first.length === second?.length ? null : (first[0] ?? null);
}
