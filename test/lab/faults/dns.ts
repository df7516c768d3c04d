import type { Handle } from '../handle.ts';
import { proxyRules } from '../rules.ts';
import { logFile } from '../servers.ts';
import { CLUSTER, type LabPod, podsOf } from '../topology.ts';
import type { At, Expectation, Fault, Saved } from './fault.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';
import { nodesWithDns } from './where.ts';

/** The CoreDNS pod of the node that is named, else the last one. */
function victim(lab: Handle, at: At): LabPod {
  const pod = podsOf(lab.topology, 'coredns').find(({ node }) => node === at.node);
  if (pod === undefined)
    throw new Error(`there is no CoreDNS pod on ${at.node}: take ${nodesWithDns(lab.topology).join(' or ')}`);
  return pod;
}

/** The process ids of a pod's processes with this name, on its node. */
function processes(pod: LabPod, name: string): string {
  return `for p in $(ip netns pids ${pod.network?.netns}); do [ "$(cat /proc/$p/comm)" != ${name} ] || echo $p; done`;
}

/** Ends processes of a pod and waits until they are gone. */
async function end(lab: Handle, pod: LabPod, name: string): Promise<void> {
  await lab.sh(pod.node, `for pid in $(${processes(pod, name)}); do kill $pid; while kill -0 $pid 2>/dev/null; do :; done; done`);
}

/** Starts the pod's processes as node.sh did, in the cgroup they belong to. */
async function start(lab: Handle, pod: LabPod): Promise<void> {
  const { netns } = pod.network ?? {};
  await lab.sh(
    pod.node,
    `ip netns exec ${netns} sh /run/lab/build/pod.sh start ${netns} coredns >/run/pods
mount -a -T /run/pods
. /run/lab/build/listens.sh
all_listen /run/pods`,
  );
}

function others(lab: Handle, pod: LabPod): LabPod[] {
  return lab.topology.pods.filter((other) => other.role === 'coredns' && other !== pod);
}

/** One CoreDNS of two: DNS works, with lost redundancy. */
function degraded(lab: Handle, at: At, layer: 'L3' | 'L4'): Expectation {
  const { node } = victim(lab, at);
  return { status: 'degraded', layer, codes: [], located: { layer }, nodes: [node] };
}

export const corednsDown: Fault = {
  name: 'coredns-down',
  row: 'D1',
  title: 'one CoreDNS pod is there, but its process is not',
  placement: 'node',
  nodes: nodesWithDns,
  async inject(lab, at) {
    const pod = victim(lab, at);
    await end(lab, pod, 'coredns');
    await end(lab, pod, 'coredns-metrics');
    return {};
  },
  async prove(lab, at) {
    const pod = victim(lab, at);
    await expectPackets(lab, {
      pass: [ping(at.peer, pod.ip), ...others(lab, pod).map((other) => dns(at.peer, other.ip))],
      fail: [dns(at.peer, pod.ip), tcp(at.peer, pod.ip, 9153)],
    });
  },
  heal: (lab, at) => start(lab, victim(lab, at)),
  expects: (lab, at) => ({
    status: 'degraded',
    layer: 'L4',
    codes: [{ code: 'port-not-listening', node: 'kube-system/kube-dns' }],
    nodes: [victim(lab, at).node],
    mentions: [victim(lab, at).name],
  }),
};

export const corednsBlackholed: Fault = {
  name: 'coredns-blackholed',
  row: 'D3',
  title: 'one CoreDNS pod drops everything that comes in, in its own network namespace',
  placement: 'node',
  nodes: nodesWithDns,
  async inject(lab, at) {
    const pod = victim(lab, at);
    await lab.sh(
      `${pod.namespace}/${pod.name}`,
      'nft add table ip sidecar\nnft add chain ip sidecar input "{ type filter hook input priority 0; policy drop; }"',
    );
    return {};
  },
  async prove(lab, at) {
    const pod = victim(lab, at);
    await expectPackets(lab, {
      pass: others(lab, pod).map((other) => dns(at.peer, other.ip)),
      fail: [ping(pod.node, pod.ip), dns(at.peer, pod.ip), tcp(pod.node, pod.ip, 9153)],
    });
  },
  async heal(lab, at) {
    const pod = victim(lab, at);
    await lab.sh(`${pod.namespace}/${pod.name}`, 'nft delete table ip sidecar');
  },
  expects: (lab, at) => degraded(lab, at, 'L3'),
};

/** One CoreDNS pod whose configuration is another: it answers every question for a name of the cluster with an error. */
function answering(name: string, title: string, rcode: string, code: string, changed: string): Fault {
  const configuration = `/tmp/${name}.conf`;
  return {
    name,
    row: 'D2',
    title,
    placement: 'node',
    nodes: nodesWithDns,
    async inject(lab, at) {
      const pod = victim(lab, at);
      await end(lab, pod, 'coredns');
      await lab.sh(
        pod.node,
        `{ ${changed}
} > ${configuration}
ip netns exec ${pod.network?.netns} coredns -d -c ${configuration} </dev/null >/dev/null 2>&1 &
mount --bind /run/lab/build/${pod.network?.netns}.container /proc/$!/cgroup
until dig +tries=1 +timeout=1 @${pod.ip} kubernetes.default.svc.${CLUSTER.domain} | grep -q ${rcode}; do :; done`,
      );
      return {};
    },
    async prove(lab, at) {
      const pod = victim(lab, at);
      await expectPackets(lab, {
        pass: [ping(at.peer, pod.ip), tcp(at.peer, pod.ip, 9153), ...others(lab, pod).map((other) => dns(at.peer, other.ip))],
        fail: [dns(at.peer, pod.ip), dns(pod.node, pod.ip)],
      });
    },
    async heal(lab, at) {
      const pod = victim(lab, at);
      await end(lab, pod, 'coredns');
      await end(lab, pod, 'coredns-metrics');
      await lab.sh(pod.node, `rm -f ${configuration}`);
      await start(lab, pod);
    },
    expects: (lab, at) => {
      const pod = victim(lab, at);
      return {
        status: 'degraded',
        layer: 'DNS',
        codes: [{ code, node: `${pod.namespace}/${pod.name}` }],
        nodes: [pod.name],
        mentions: [rcode, `on ${pod.node}`],
      };
    },
  };
}

export const corednsServfail = answering(
  'coredns-servfail',
  'one CoreDNS pod answers SERVFAIL for the names of the cluster',
  'SERVFAIL',
  'dns-servfail',
  `sed '/local-zone\\|local-data/d' /run/lab/build/coredns.conf; cat <<'END'
auth-zone:
  name: "${CLUSTER.domain}."
  primary: 127.0.0.1
  for-downstream: yes
  for-upstream: yes
  fallback-enabled: no
END
`,
);

export const corednsRefused = answering(
  'coredns-refused',
  'one CoreDNS pod answers REFUSED for the names of the cluster',
  'REFUSED',
  'dns-refused',
  "sed 's|access-control: .*|access-control: 0.0.0.0/0 refuse|' /run/lab/build/coredns.conf",
);

export const corednsNxdomain = answering(
  'coredns-nxdomain',
  'one CoreDNS pod answers NXDOMAIN for the names of the cluster: it has none of them',
  'NXDOMAIN',
  'dns-nxdomain',
  "sed '/local-data: .* IN A /d' /run/lab/build/coredns.conf",
);

const POD_PATH = '/api/v1/namespaces/kube-system/pods';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices';

type PodObject = {
  readonly status: { readonly containerStatuses: readonly object[]; readonly conditions: readonly { readonly type: string }[] };
};
type SliceObject = {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly endpoints: readonly { readonly targetRef: { readonly name: string } }[];
};

/** The API server calls a pod crashing, as the kubelet does between two restarts. Returns what it said before. */
async function callCrashing(lab: Handle, pod: LabPod): Promise<string> {
  const path = `${POD_PATH}/${pod.name}`;
  const { status } = (await lab.api('GET', path)).body as PodObject;
  const since = new Date(Date.now() - 60_000).toISOString().replace(/\.\d+Z$/, 'Z');
  const crashed = {
    ...status.containerStatuses[0],
    ready: false,
    started: false,
    restartCount: 7,
    state: {
      waiting: { reason: 'CrashLoopBackOff', message: `back-off 5m0s restarting failed container=coredns pod=${pod.name}` },
    },
    lastState: { terminated: { exitCode: 1, reason: 'Error', startedAt: since, finishedAt: since } },
  };
  const conditions = status.conditions.map((condition) =>
    ['Ready', 'ContainersReady'].includes(condition.type)
      ? { ...condition, status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [coredns]' }
      : condition,
  );
  await lab.api('PATCH', `${path}/status`, { status: { containerStatuses: [crashed], conditions } });
  return JSON.stringify({ containerStatuses: status.containerStatuses, conditions: status.conditions });
}

/**
 * Makes these pods the only ready endpoints of kube-dns: in its EndpointSlice, and in the rules of every node, as
 * kube-proxy would (pkg/proxy/iptables/proxier.go); without any, it rejects.
 */
async function serveBy(lab: Handle, ready: readonly LabPod[]): Promise<void> {
  const { items } = (await lab.api('GET', SLICES)).body as { items: readonly SliceObject[] };
  const slice = items.find(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === 'kube-dns');
  if (slice === undefined) throw new Error('kube-dns has no EndpointSlice');
  const endpoints = slice.endpoints.map((endpoint) => {
    const isReady = ready.some(({ name }) => name === endpoint.targetRef.name);
    return { ...endpoint, conditions: { ready: isReady, serving: isReady, terminating: false } };
  });
  await lab.api('PATCH', `${SLICES}/${slice.metadata.name}`, { endpoints });
  const pods = lab.topology.pods.filter((pod) => pod.role !== 'coredns' || ready.includes(pod));
  const rules = proxyRules({ ...lab.topology, pods });
  await Promise.all(lab.topology.nodes.map(({ name }) => lab.sh(name, `iptables-nft-restore --noflush <<'END'\n${rules}END`)));
}

/** Ends CoreDNS pods' processes, and has the API server and kube-proxy know. */
async function crash(lab: Handle, pods: readonly LabPod[]): Promise<Saved> {
  const saved: Record<string, string> = {};
  for (const pod of pods) {
    await end(lab, pod, 'coredns');
    await end(lab, pod, 'coredns-metrics');
    saved[pod.name] = await callCrashing(lab, pod);
  }
  await serveBy(
    lab,
    lab.topology.pods.filter((pod) => pod.role === 'coredns' && !pods.includes(pod)),
  );
  return saved;
}

async function restart(lab: Handle, pods: readonly LabPod[], saved: Saved): Promise<void> {
  for (const pod of pods) {
    await start(lab, pod);
    await lab.api('PATCH', `${POD_PATH}/${pod.name}/status`, { status: JSON.parse(saved[pod.name] ?? '{}') as object });
  }
  await serveBy(
    lab,
    lab.topology.pods.filter((pod) => pod.role === 'coredns'),
  );
}

const oneIsDown: Fault['prove'] = async (lab, at) => {
  const pod = victim(lab, at);
  await expectPackets(lab, {
    pass: [ping(at.peer, pod.ip), dns(at.peer, CLUSTER.dnsService), ...others(lab, pod).map((other) => dns(at.peer, other.ip))],
    fail: [dns(at.peer, pod.ip), tcp(at.peer, pod.ip, 9153)],
  });
};

export const corednsCrashing: Fault = {
  name: 'coredns-crashing',
  row: 'D1',
  title: 'one CoreDNS pod crashes again and again, and no Service leads to it',
  placement: 'node',
  nodes: nodesWithDns,
  inject: (lab, at) => crash(lab, [victim(lab, at)]),
  prove: oneIsDown,
  heal: (lab, at, saved) => restart(lab, [victim(lab, at)], saved),
  expects: (lab, at) => {
    const pod = victim(lab, at);
    return {
      status: 'degraded',
      layer: 'DNS',
      codes: [{ code: 'coredns-not-ready', node: `kube-system/${pod.name}` }],
      nodes: [pod.name],
      mentions: ['CrashLoopBackOff', '7 restarts', 'exit code 1'],
    };
  },
};

/** Writes what a pod's server logged before it ended, as its runtime keeps it. */
async function logs(lab: Handle, pod: LabPod, lines: readonly string[]): Promise<void> {
  const time = new Date(Date.now() - 60_000).toISOString();
  const file = logFile(pod, 'coredns');
  const text = lines.map((line) => `${time} stdout F ${line}\n`).join('');
  await lab.sh(pod.node, `mkdir -p ${file.replace(/\/[^/]*$/, '')}\ncat >${file} <<'END'\n${text}END`);
}

async function forget(lab: Handle, pod: LabPod): Promise<void> {
  await lab.sh(pod.node, `rm -f ${logFile(pod, 'coredns')}`);
}

/** A server that serves this Corefile in the lab is another program; these are the words of CoreDNS 1.11, of its plugin loop. */
const LOOP_LOG = [
  '.:53',
  '[INFO] plugin/reload: Running configuration SHA512 = 591cf328cccc12bc490481273e738df59329c62c0b729d94e8b61db9961c2fa5f046dd37f1cf888b953814040d180f52594972691cd6ff41be96639138a43908',
  'CoreDNS-1.11.1',
  'linux/amd64, go1.20.7, ae2bbc2',
  '[FATAL] plugin/loop: Loop (127.0.0.1:47324 -> :53) detected for zone ".", see https://coredns.io/plugins/loop#troubleshooting. Query: "HINFO 4547991504243258144.3688648895315093531."',
];

export const corednsLoop: Fault = {
  name: 'coredns-loop',
  row: 'D7',
  title: "one CoreDNS pod got the node's stub 127.0.0.53 as its server outside, and ends because it asks itself",
  placement: 'node',
  nodes: nodesWithDns,
  async inject(lab, at) {
    const pod = victim(lab, at);
    await lab.sh(at.node, `echo 'nameserver 127.0.0.53' >/etc/netns/${pod.network?.netns}/resolv.conf`);
    await logs(lab, pod, LOOP_LOG);
    return crash(lab, [pod]);
  },
  prove: oneIsDown,
  async heal(lab, at, saved) {
    const pod = victim(lab, at);
    await lab.sh(at.node, `cat /etc/resolv.conf >/etc/netns/${pod.network?.netns}/resolv.conf`);
    await forget(lab, pod);
    await restart(lab, [pod], saved);
  },
  expects: (lab, at) => {
    const pod = victim(lab, at);
    return {
      status: 'degraded',
      layer: 'DNS',
      codes: [{ code: 'dns-forwarding-loop', node: `kube-system/${pod.name}` }],
      nodes: [pod.name],
      mentions: ['127.0.0.53', 'systemd-resolved', 'CrashLoopBackOff', 'plugin/loop'],
    };
  },
};

export const dnsNoEndpoints: Fault = {
  name: 'dns-no-endpoints',
  row: 'D1',
  title: 'every CoreDNS pod crashes: the Service kube-dns has no endpoint',
  placement: 'cluster',
  inject: (lab) =>
    crash(
      lab,
      lab.topology.pods.filter((pod) => pod.role === 'coredns'),
    ),
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: lab.topology.pods.filter((pod) => pod.role === 'coredns').map((pod) => ping(at.peer, pod.ip)),
      fail: [dns(at.peer, CLUSTER.dnsService), dns(at.node, CLUSTER.dnsService)],
    }),
  heal: (lab, _at, saved) =>
    restart(
      lab,
      lab.topology.pods.filter((pod) => pod.role === 'coredns'),
      saved,
    ),
  expects: (lab) => ({
    status: 'failed',
    layer: 'DNS',
    codes: [
      { code: 'dns-no-endpoints', node: 'kube-system/kube-dns' },
      ...lab.topology.pods
        .filter((pod) => pod.role === 'coredns')
        .map((pod) => ({ code: 'coredns-not-ready', node: `kube-system/${pod.name}` })),
    ],
    nodes: ['kube-dns'],
    mentions: ['has no ready endpoint'],
  }),
};

/** The second CoreDNS pod is not there, or on the node of the first: as the API server has it; the network stays as it is. */
export const corednsAlone: Fault = {
  name: 'coredns-alone',
  row: 'D1',
  title: 'only one CoreDNS pod is left',
  placement: 'cluster',
  async inject(lab) {
    const [, second] = lab.topology.pods.filter((pod) => pod.role === 'coredns');
    if (second === undefined) throw new Error('there is no second CoreDNS pod');
    const before = (await lab.api('GET', `${POD_PATH}/${second.name}`)).body;
    await serveBy(
      lab,
      lab.topology.pods.filter((pod) => pod.role === 'coredns' && pod !== second),
    );
    await lab.api('DELETE', `${POD_PATH}/${second.name}?gracePeriodSeconds=0`);
    return { name: second.name, before: JSON.stringify(before) };
  },
  async prove(lab, at) {
    const { items } = (await lab.api('GET', `${POD_PATH}?labelSelector=k8s-app%3Dkube-dns`)).body as { items: readonly object[] };
    if (items.length !== 1) throw new Error(`there are ${items.length} CoreDNS pods`);
    await expectPackets(lab, { pass: [dns(at.peer, CLUSTER.dnsService)], fail: [] });
  },
  async heal(lab, _at, saved) {
    const { metadata, ...rest } = JSON.parse(saved['before'] ?? '{}') as { metadata: Record<string, unknown>; status: object };
    const { resourceVersion: _version, ...kept } = metadata;
    await lab.api('POST', POD_PATH, { ...rest, metadata: kept });
    await lab.api('PATCH', `${POD_PATH}/${saved['name']}/status`, { status: rest.status });
    await serveBy(
      lab,
      lab.topology.pods.filter((pod) => pod.role === 'coredns'),
    );
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['coredns-too-few'], nodes: [] }),
};

export const corednsOnOneNode: Fault = {
  name: 'coredns-on-one-node',
  row: 'D1',
  title: 'both CoreDNS pods are on one node, as the API server has it',
  placement: 'cluster',
  async inject(lab) {
    const [first, second] = lab.topology.pods.filter((pod) => pod.role === 'coredns');
    if (first === undefined || second === undefined) throw new Error('there are no two CoreDNS pods');
    await lab.api('PATCH', `${POD_PATH}/${second.name}`, { spec: { nodeName: first.node } });
    return { name: second.name, node: second.node };
  },
  async prove(lab) {
    const { items } = (await lab.api('GET', `${POD_PATH}?labelSelector=k8s-app%3Dkube-dns`)).body as {
      items: readonly { readonly spec: { readonly nodeName: string } }[];
    };
    if (new Set(items.map(({ spec }) => spec.nodeName)).size !== 1) throw new Error('the pods are on different nodes');
  },
  async heal(lab, _at, saved) {
    await lab.api('PATCH', `${POD_PATH}/${saved['name']}`, { spec: { nodeName: saved['node'] } });
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['coredns-on-one-node'], nodes: [] }),
};
