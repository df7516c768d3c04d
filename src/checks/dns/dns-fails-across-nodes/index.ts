import { z } from 'zod';
import { type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';
import { type DnsServer, dnsServers, namesText, serverText } from '../../kit/dns-servers.ts';

/** D3. A reading of the matrix, beside whatever accounts for the failures: it harms nothing by itself. */
export const dnsFailsAcrossNodes = defineCheck({
  id: 'dns-fails-across-nodes',
  row: 'D3',
  layer: 'L3',
  scope: 'cluster',
  title: 'DNS fails between nodes only',
  why: 'Names resolve now and then: it looks like DNS, and is the network between the nodes.',
  codes: {
    'dns-fails-across-nodes':
      'Every DNS server that does not answer other nodes answers its own: the network between the nodes fails, not DNS.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { probed }) => {
    const servers = dnsServers(probed);
    const failing = servers.filter(({ asked }) => asked.some(isSilent));
    if (failing.length === 0 || !failing.every(answersOwnNode)) return [];
    return [draftOf(failing, servers)];
  },
});

/** Nothing came back at all, from the server or from whatever refuses on the way. */
function isSilent({ result }: Probed): boolean {
  return result.status === 'fail' && result.delivered === 0;
}

/** Whether a server answers everybody who asked on its own node, and somebody did. */
function answersOwnNode({ node, asked }: DnsServer): boolean {
  const own = asked.filter(({ probe }) => probe.from.node === node);
  return own.length > 0 && own.every(({ result }) => result.status === 'pass');
}

function draftOf(failing: readonly DnsServer[], servers: readonly DnsServer[]): Draft {
  const silent = failing.flatMap(({ asked }) => asked.filter(isSilent));
  const sentences = failing.map((server) => {
    const askers = server.asked.filter(isSilent).map(({ probe }) => probe.from.node);
    return `${serverText(server)} answers on its own node and gives no answer to ${namesText(askers)}`;
  });
  const rest = servers.filter((server) => !failing.includes(server));
  const others =
    rest.length === 0
      ? ''
      : `; ${namesText(rest.map(({ name }) => name))} ${rest.length > 1 ? 'answer' : 'answers'} all that asked`;
  return {
    code: 'dns-fails-across-nodes',
    entity: { kind: 'Service', namespace: failing[0]?.namespace ?? '', name: 'kube-dns' },
    severity: 'info',
    at: [],
    harms: [],
    summary: `${sentences.join('; ')}${others}: the servers work, and what fails is the network between the nodes, not DNS`,
    advice: `Do not restart CoreDNS: look at what this verdict says of the nodes named. Until that is mended, ${shareText(failing, servers)}.`,
    evidence: silent.slice(0, 6).map(({ probe, result }) => ({
      where: probe.from.pod ?? probe.from.node,
      source: probe.id,
      text: result.detail ?? result.how ?? '',
    })),
  };
}

/** How many lookups fail where the most servers are out of reach: kube-proxy picks one of them at random each time. */
function shareText(failing: readonly DnsServer[], servers: readonly DnsServer[]): string {
  const perNode = Map.groupBy(
    failing.flatMap((server) => [...new Set(server.asked.filter(isSilent).map(({ probe }) => probe.from.node))]),
    (node) => node,
  );
  const worst = Math.max(...[...perNode.values()].map(({ length }) => length));
  const nodes = [...perNode].filter(([, { length }]) => length === worst).map(([node]) => node);
  const share = worst === servers.length ? 'every lookup' : `about ${Math.round((100 * worst) / servers.length)} % of lookups`;
  return `${share} from ${namesText(nodes)} ${worst === servers.length ? 'fails' : 'fail'} or time${worst === servers.length ? 's' : ''} out`;
}
