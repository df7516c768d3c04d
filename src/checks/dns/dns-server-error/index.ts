import { z } from 'zod';
import { podEntity } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { How } from '../../../model/probe.ts';
import { type Draft, defineCheck, ok } from '../../kit/check.ts';
import { type DnsServer, dnsServers, namesText, serverText } from '../../kit/dns-servers.ts';

type Answer = { readonly code: string; readonly rcode: string; readonly advice: (server: DnsServer) => string };

const logs = ({ namespace, pod }: DnsServer): string => `kubectl -n ${namespace} logs ${pod}`;

/** What each rcode means when a server of the cluster answers with it for the API server's own name. Source: RFC 1035, 4.1.1; CoreDNS's plugins. */
const ANSWERS: Partial<Record<How, Answer>> = {
  servfail: {
    code: 'dns-servfail',
    rcode: 'SERVFAIL',
    advice: (server) =>
      `The question arrives and is answered, so this is not the network: the server cannot serve its own zone. Look for errors of the kubernetes plugin, which reads Services from the API server (${logs(server)}), and at the Corefile.`,
  },
  'refused-by-server': {
    code: 'dns-refused',
    rcode: 'REFUSED',
    advice: (server) =>
      `The question arrives and is answered, so this is not the network: no server block of the Corefile serves this zone, or an acl forbids the client (kubectl -n ${server.namespace} get configmap coredns -o yaml, then ${logs(server)}).`,
  },
  nxdomain: {
    code: 'dns-nxdomain',
    rcode: 'NXDOMAIN',
    advice: (server) =>
      `The question arrives and is answered, so this is not the network: the server says that the name does not exist. Compare the zone of the kubernetes plugin in the Corefile with the cluster's domain (clusterDomain of the kubelets), and look whether the server has read the Services yet (${logs(server)}).`,
  },
};

/** D2. Only the answers of the servers themselves count: what does not answer is the network's, or a process that is down. */
export const dnsServerError = defineCheck({
  id: 'dns-server-error',
  row: 'D2',
  layer: 'DNS',
  scope: 'cluster',
  title: 'A DNS server of the cluster answers with an error',
  why: 'Lookups of Services fail although every packet arrives; with several servers, they fail now and then.',
  codes: {
    'dns-servfail': 'A server answers SERVFAIL for a name of the cluster: it cannot serve its own zone.',
    'dns-refused': 'A server answers REFUSED for a name of the cluster: it is not configured to serve the zone.',
    'dns-nxdomain': 'A server answers NXDOMAIN for the API server’s name: it does not know the cluster’s zone.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { probed }) => {
    const servers = dnsServers(probed);
    return servers.flatMap((server) => {
      const errors = server.asked.filter(({ result }) => result.how !== null && ANSWERS[result.how] !== undefined);
      return [...Map.groupBy(errors, ({ result }) => result.how)].flatMap(([how, failed]) => {
        const answer = how === null ? undefined : ANSWERS[how];
        return answer === undefined ? [] : [draftOf(server, answer, failed, servers)];
      });
    });
  },
});

function draftOf(
  server: DnsServer,
  { code, rcode, advice }: Answer,
  failed: DnsServer['asked'],
  all: readonly DnsServer[],
): Draft {
  const good = all.filter((other) => other !== server && other.asked.some(({ result }) => result.status === 'pass'));
  const isPartial = server.asked.some(({ result }) => result.status === 'pass');
  const others = good.length === 0 ? '' : `; ${namesText(good.map(({ name }) => name))} ${good.length > 1 ? 'know' : 'knows'} it`;
  return {
    code,
    entity: podEntity(server.namespace, server.pod),
    certainty: 'inferred',
    partial: isPartial,
    at: [{ place: podPlace(server.namespace, server.pod), point: 'socket' }],
    harms: [{ proto: 'udp', dport: 53 }],
    summary: `${serverText(server)} answers ${rcode} for ${server.question} to ${failed.length === server.asked.length ? 'all' : `${failed.length} of the`} ${server.asked.length} that asked it${others}`,
    advice: advice(server),
    evidence: failed.slice(0, 4).map(({ probe, result }) => ({
      where: probe.from.pod ?? probe.from.node,
      source: probe.id,
      text: result.detail ?? rcode,
    })),
  };
}
