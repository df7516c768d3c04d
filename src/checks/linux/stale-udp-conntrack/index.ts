import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory, Service } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck } from '../../kit/check.ts';
import { parseTranslations, type Translated, type Translations } from '../../kit/conntrack.ts';
import { parseDestinations } from '../../kit/nat-rules.ts';
import { RULES_IPTABLES_NFT, RULES_LEGACY, TRANSLATED_CONNECTIONS } from '../../kit/readings.ts';

/** `destinations`: what the node's rules translate to now, as `IP:PORT`. */
type Facts = { readonly translated: Translations; readonly destinations: ReadonlySet<string> };

/** N20. Source: kubernetes pkg/proxy/conntrack, which deletes such entries when an endpoint goes. */
export const staleUdpConntrack = defineCheck({
  id: 'stale-udp-conntrack',
  row: 'N20',
  layer: 'L4',
  scope: 'node',
  title: 'UDP goes on to an endpoint that is gone',
  why: 'A client that keeps its source port, as many DNS clients do, goes on sending to a pod that is not there any more.',
  codes: {
    'stale-udp-conntrack':
      'Connection-tracking entries of a node lead UDP packets for a Service to an address that is none of its endpoints.',
  },
  params: z.strictObject({}),
  collect: { translated: TRANSLATED_CONNECTIONS, legacy: RULES_LEGACY, iptablesNft: RULES_IPTABLES_NFT },
  parse: ({ translated, ...rules }) =>
    allParsed<Facts>({ translated: parseTranslations(translated), destinations: parseDestinations(rules) }),
  evaluate: ({ translated, destinations }: Facts, { node, inventory }) => {
    // Where endpoints could not be read, every one would look gone.
    if (inventory.gaps.some(({ what }) => /endpoint|service/i.test(what))) return [];
    const stale = translated.groups.flatMap((group) => {
      const service = serviceOf(inventory, group);
      const isThere = destinations.has(`${group.target}:${group.targetPort}`);
      return service === undefined || isThere || isEndpoint(inventory, service, group) ? [] : [{ group, service }];
    });
    return [
      ...Map.groupBy(stale, ({ group }) => `${group.to} ${group.port} ${group.target} ${group.targetPort}`).values(),
    ].flatMap((same) =>
      same[0] === undefined
        ? []
        : [
            found(
              node,
              inventory,
              same[0],
              same.reduce((sum, { group }) => sum + group.count, 0),
            ),
          ],
    );
  },
});

/** The Service whose address and port UDP packets were sent to. */
function serviceOf({ services }: Inventory, { proto, to, port }: Translated): Service | undefined {
  if (proto !== 'udp') return undefined;
  return services.find(
    ({ clusterIP, ports }) => clusterIP === to && ports.some((each) => each.protocol === 'UDP' && each.port === port),
  );
}

function isEndpoint({ endpoints }: Inventory, { namespace, name }: Service, { target, targetPort }: Translated): boolean {
  return endpoints.some(
    (endpoint) =>
      endpoint.namespace === namespace &&
      endpoint.service === name &&
      endpoint.ip === target &&
      endpoint.ports.some(({ protocol, port }) => protocol === 'UDP' && port === targetPort),
  );
}

function found(
  node: string,
  { pods }: Inventory,
  { group: { to, port, target, targetPort }, service }: { readonly group: Translated; readonly service: Service },
  count: number,
): Draft {
  const name = `${service.namespace}/${service.name}`;
  const pod = pods.find(({ ip, hostNetwork }) => ip === target && !hostNetwork);
  const now = pod === undefined ? 'no pod has that address now' : `${pod.namespace}/${pod.name} has that address now`;
  return {
    code: 'stale-udp-conntrack',
    entity: nodeEntity(node),
    severity: 'warning',
    at: [{ place: nodePlace(node), point: 'nat', via: to }],
    // Whoever sends from another port gets an entry of its own, and a living endpoint.
    harms: [{ proto: 'udp', dst: to, dport: port, state: 'established' }],
    summary: `${node} leads UDP packets of ${count} client port${count === 1 ? '' : 's'} for the Service ${name} (${to} port ${port}) on to ${target} port ${targetPort}, which is none of its endpoints; ${now}`,
    advice:
      'Such an entry stays as long as its client keeps sending from the same port. kube-proxy deletes it when an endpoint goes: look in its log on this node for why it did not.',
    evidence: [
      {
        where: node,
        source: TRANSLATED_CONNECTIONS.argv.join(' '),
        text: `udp dst=${to} dport=${port}, answered by src=${target} sport=${targetPort}: ${count} entr${count === 1 ? 'y' : 'ies'}`,
      },
    ],
    remedy: {
      id: 'delete-conntrack-entries',
      node,
      params: { proto: 'udp', ip: to, port: String(port), target, targetPort: String(targetPort) },
    },
  };
}
