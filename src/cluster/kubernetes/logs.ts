import type { InventoryGap, Node, Pod, PodLog } from '../../model/inventory.ts';
import type { Api } from './api.ts';

/** How far back, how many lines and bytes of a log are read, and of how many pods at most. */
const SINCE_SECONDS = 3600;
const LINES = 200;
const BYTES = 64 << 10;
const MOST_PODS = 10;

/** How long a kubelet may take to hand out a log. Milliseconds. */
const LOG_MS = 2500;

/** How many different lines of a log are kept, the most frequent ones. */
const MOST_KINDS = 8;

/**
 * What CoreDNS logs of loops and of servers that do not answer it, and what is kept of such a line: no name that somebody
 * looked up, no port that is another one each time. Source: CoreDNS's plugins loop, errors and kubernetes; net/dial.go.
 */
const KINDS: readonly (readonly [RegExp, (groups: Readonly<Record<string, string>>) => string])[] = [
  [
    /plugin\/loop: Loop \((?<from>[\d.a-f:[\]]+?):\d+ -> (?<to>\S*:\d+)\) detected for zone "(?<zone>[^"\s]{1,253})"/,
    ({ from, to, zone }) => `plugin/loop: Loop (${from} -> ${to}) detected for zone "${zone}"`,
  ],
  [
    /plugin\/errors: .*: (?<op>read|write|dial) (?<net>udp|tcp) (?:\S+->)?(?<to>[\d.a-f:[\]]+:\d+): (?<why>i\/o timeout|[a-z]+: connection refused|[a-z]+: no route to host|[a-z]+: network is unreachable)\s*$/,
    ({ op, net, to, why }) => `plugin/errors: ${op} ${net} ${to}: ${why}`,
  ],
  [
    /(?:plugin\/kubernetes|reflector\.go).*: dial tcp (?<to>[\d.a-f:[\]]+:\d+): (?<why>i\/o timeout|connect: [a-z ]{1,40})/,
    ({ to, why }) => `plugin/kubernetes: dial tcp ${to}: ${why}`,
  ],
];

/** The lines of a log that are kept, each once with how often it is there; nothing else of it passes. */
export function reduceLog(text: string): PodLog['lines'] {
  const counts = new Map<string, number>();
  for (const line of text.split('\n')) {
    for (const [pattern, kept] of KINDS) {
      const groups = pattern.exec(line)?.groups;
      if (groups === undefined) continue;
      const told = kept(groups);
      counts.set(told, (counts.get(told) ?? 0) + 1);
      break;
    }
  }
  return [...counts]
    .map(([told, count]) => ({ text: told, count }))
    .toSorted((a, b) => b.count - a.count)
    .slice(0, MOST_KINDS);
}

/**
 * Reads what the CoreDNS pods logged lately, those in trouble first. A pod that is gone meanwhile, or of which no container
 * has run yet, has no log, and that is no gap; whatever else cannot be read is one, for all pods together.
 */
export async function readDnsLogs(
  api: Pick<Api, 'text'>,
  pods: readonly Pod[],
  nodes: readonly Node[],
  signal: AbortSignal,
): Promise<{ readonly logs: readonly PodLog[]; readonly gaps: readonly InventoryGap[] }> {
  const wanted = pods
    .filter(({ namespace, labels }) => namespace === 'kube-system' && labels['k8s-app'] === 'kube-dns')
    .filter(({ containers }) => containers.some(hasLog))
    .toSorted((a, b) => Number(a.ready) - Number(b.ready) || restartsOf(b) - restartsOf(a))
    .slice(0, MOST_PODS);
  const read = await Promise.all(
    wanted.map(async (pod) => {
      // The API server would wait for a kubelet that is known to be silent.
      const node = nodes.find(({ name }) => name === pod.node);
      if (node?.ready === 'Unknown') return { pod, text: null, reason: `the kubelet of ${node.name} does not answer` };
      const query = `container=${CONTAINER}&tailLines=${LINES}&limitBytes=${BYTES}&sinceSeconds=${SINCE_SECONDS}`;
      const path = `/api/v1/namespaces/kube-system/pods/${encodeURIComponent(pod.name)}/log?${query}` as const;
      const log = await api.text(path, AbortSignal.any([signal, AbortSignal.timeout(LOG_MS)]));
      if (log.ok) return { pod, text: log.value, reason: null };
      const isNone = log.fault.kind === 'not-found' || /is waiting to start/.test(log.fault.message);
      return { pod, text: null, reason: isNone ? null : log.fault.message };
    }),
  );
  const logs = read.flatMap(({ pod: { namespace, name }, text }) => {
    const lines = text === null ? [] : reduceLog(text);
    return lines.length === 0 ? [] : [{ namespace, pod: name, container: CONTAINER, lines }];
  });
  const unread = read.flatMap(({ reason }) => reason ?? []);
  const [first] = unread;
  if (first === undefined) return { logs, gaps: [] };
  return { logs, gaps: [{ what: 'logs of the DNS pods', reason: `${unread.length} of ${wanted.length}: ${first}` }] };
}

/** The container of CoreDNS in its own manifests; other servers that carry the label log in other words. */
const CONTAINER = 'coredns';

function hasLog({ name, state, last }: Pod['containers'][number]): boolean {
  return name === CONTAINER && (state === 'running' || state === 'terminated' || last !== null);
}

function restartsOf({ containers }: Pod): number {
  return Math.max(0, ...containers.map(({ restarts }) => restarts));
}
