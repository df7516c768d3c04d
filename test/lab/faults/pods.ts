import type { Layer } from '../../../src/model/layer.ts';
import type { Handle } from '../handle.ts';
import { CLUSTER, type LabPod, type PodRole } from '../topology.ts';
import type { At, Expectation, Fault, Saved } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';

/** The pod with this role on the node of a fault. */
function podAt(lab: Handle, at: At, role: PodRole): LabPod & { readonly network: NonNullable<LabPod['network']> } {
  const pod = lab.topology.pods.find((candidate) => candidate.role === role && candidate.node === at.node);
  if (pod?.network == null) throw new Error(`there is no ${role} pod on ${at.node}`);
  return { ...pod, network: pod.network };
}

function nameOf({ namespace, name }: LabPod): string {
  return `${namespace}/${name}`;
}

/** A fault that nothing which netcheck probes depends on: all passes, and it is told as a risk. */
function riskOnly(code: string): () => Expectation {
  return () => ({ status: 'healthy', layer: null, codes: [], risks: [code], nodes: [] });
}

/** A fault of netcheck's own pod on a node. */
function failsProbePod(code: string, layer: Layer): Fault['expects'] {
  return (lab, at) => ({ status: 'failed', layer, codes: [{ code, node: nameOf(podAt(lab, at, 'probe')) }], nodes: [at.node] });
}

/** Ends the processes of a pod with a name and waits until they are gone. */
async function end(lab: Handle, pod: LabPod, name: string): Promise<void> {
  await lab.sh(
    pod.node,
    `for p in $(ip netns pids ${pod.network?.netns}); do
  [ "$(cat /proc/$p/comm)" = ${name} ] || continue
  kill -KILL $p
  while kill -0 $p 2>/dev/null; do :; done
done`,
  );
}

/** Starts the processes of a pod as node.sh did, in the cgroup they belong to. */
async function start(lab: Handle, pod: LabPod): Promise<void> {
  const { netns } = pod.network ?? {};
  await lab.sh(
    pod.node,
    `ip netns exec ${netns} sh /run/lab/build/pod.sh start ${netns} ${pod.role} >/run/pods
mount -a -T /run/pods
. /run/lab/build/listens.sh
all_listen /run/pods`,
  );
}

export const portNotListening: Fault = {
  name: 'port-not-listening',
  row: 'P4',
  title: 'a pod behind a Service is there, but its process is not',
  placement: 'node',
  async inject(lab, at) {
    await end(lab, podAt(lab, at, 'web'), 'web');
    return {};
  },
  async prove(lab, at) {
    const { ip } = podAt(lab, at, 'web');
    await expectPackets(lab, { pass: [ping(at.peer, ip)], fail: [tcp(at.peer, ip, 8080)] });
  },
  heal: (lab, at) => start(lab, podAt(lab, at, 'web')),
  expects: riskOnly('port-not-listening'),
};

export const listensOnLoopbackOnly: Fault = {
  name: 'listens-on-loopback-only',
  row: 'P4',
  title: 'the process of a pod behind a Service listens on 127.0.0.1 only',
  placement: 'node',
  async inject(lab, at) {
    const pod = podAt(lab, at, 'web');
    await end(lab, pod, 'web');
    await lab.sh(
      pod.node,
      `ip netns exec ${pod.network.netns} web TCP-LISTEN:8080,fork,reuseaddr,bind=127.0.0.1 UNIX-CONNECT:/run/lab/web.sock </dev/null >/dev/null 2>&1 &
mount --bind /run/lab/build/${pod.network.netns}.container /proc/$!/cgroup
. /run/lab/build/listens.sh
listens $! tcp 8080`,
    );
    return {};
  },
  async prove(lab, at) {
    const pod = podAt(lab, at, 'web');
    await expectPackets(lab, { pass: [tcp(nameOf(pod), '127.0.0.1', 8080)], fail: [tcp(at.peer, pod.ip, 8080)] });
  },
  async heal(lab, at) {
    const pod = podAt(lab, at, 'web');
    await end(lab, pod, 'web');
    await start(lab, pod);
  },
  expects: riskOnly('listens-on-loopback-only'),
};

const PODS = '/api/v1/namespaces/default/pods';

/** The container that the API server knows is another one, which crashes; the process of the old one holds the port. */
export const leftoverProcess: Fault = {
  name: 'leftover-process',
  row: 'P5',
  title: 'the process of a container that its runtime has forgotten holds the port of the pod, the new one crashes',
  placement: 'node',
  async inject(lab, at) {
    const pod = podAt(lab, at, 'web');
    const path = `${PODS}/${pod.name}`;
    const { body } = await lab.api('GET', path);
    const { containerStatuses, conditions } = (
      body as { status: { containerStatuses: object[]; conditions: { type: string }[] } }
    ).status;
    const newId = `containerd://${'c0ffee00'.repeat(8)}`;
    const [status] = containerStatuses;
    const crashed = {
      ...status,
      containerID: newId,
      ready: false,
      started: false,
      restartCount: 7,
      state: {
        waiting: {
          reason: 'CrashLoopBackOff',
          message: `back-off 5m0s restarting failed container=web pod=${pod.name}_default(${pod.uid})`,
        },
      },
      lastState: {
        terminated: {
          exitCode: 1,
          reason: 'Error',
          startedAt: '2026-11-20T10:00:00Z',
          finishedAt: '2026-11-20T10:00:01Z',
          containerID: newId,
        },
      },
    };
    const notReady = conditions.map((condition) =>
      ['Ready', 'ContainersReady'].includes(condition.type)
        ? { ...condition, status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [web]' }
        : condition,
    );
    await lab.api('PATCH', `${path}/status`, { status: { containerStatuses: [crashed], conditions: notReady } });
    await setReady(lab, pod, false);
    // Until it is older than what the API server could still have to learn of.
    await lab.sh(
      pod.node,
      `for p in $(ip netns pids ${pod.network.netns}); do
  until [ $(($(cut -d. -f1 /proc/uptime) - $(sed 's/.*) //' /proc/$p/stat | cut -d' ' -f20) / 100)) -gt 16 ]; do sleep 0.5; done
done`,
    );
    return { status: JSON.stringify({ containerStatuses, conditions }) };
  },
  async prove(lab, at) {
    const pod = podAt(lab, at, 'web');
    const { exitCode, stderr } = await lab.exec(nameOf(pod), ['socat', 'TCP-LISTEN:8080', 'STDOUT']);
    if (exitCode === 0 || !stderr.includes('Address already in use')) throw new Error(`port 8080 can be bound: ${stderr}`);
    const { body } = await lab.api('GET', `${PODS}/${pod.name}`);
    const { containerStatuses } = (body as { status: { containerStatuses: { ready: boolean }[] } }).status;
    if (containerStatuses.some(({ ready }) => ready)) throw new Error(`the container of ${pod.name} is ready, and must not be`);
  },
  async heal(lab, at, saved) {
    const pod = podAt(lab, at, 'web');
    await lab.api('PATCH', `${PODS}/${pod.name}/status`, { status: JSON.parse(saved['status'] ?? '{}') as object });
    await setReady(lab, pod, true);
    // Somebody may have ended it.
    const names = await lab.sh(pod.node, `for p in $(ip netns pids ${pod.network.netns}); do cat /proc/$p/comm; done`);
    if (!names.split('\n').includes('web')) await start(lab, pod);
  },
  expects: riskOnly('leftover-process'),
};

const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';

type Slice = {
  readonly metadata: { readonly name: string };
  readonly endpoints: { readonly targetRef?: { readonly name: string }; readonly conditions: object }[];
};

/** Says in the EndpointSlices whether a pod is ready, as their controller would. */
async function setReady(lab: Handle, pod: LabPod, ready: boolean): Promise<void> {
  const { body } = await lab.api('GET', SLICES);
  const { items } = body as { items: Slice[] };
  const slice = items.find(({ endpoints }) => endpoints.some(({ targetRef }) => targetRef?.name === pod.name));
  if (slice === undefined) throw new Error(`${pod.name} is in no EndpointSlice`);
  const endpoints = slice.endpoints.map((endpoint) =>
    endpoint.targetRef?.name === pod.name ? { ...endpoint, conditions: { ready, serving: ready, terminating: false } } : endpoint,
  );
  await lab.api('PATCH', `${SLICES}/${slice.metadata.name}`, { endpoints });
}

/** The port of a server that never accepts, and the backlog that it asks for. */
const SLOW = { port: 8090, backlog: 2 } as const;

export const acceptQueueOverflow: Fault = {
  name: 'accept-queue-overflow',
  row: 'N15',
  title: 'a process in a pod accepts no connections, while more and more come',
  placement: 'node',
  async inject(lab, at) {
    const pod = podAt(lab, at, 'web');
    const client = podAt(lab, at, 'client');
    const before = (await lab.sh(nameOf(pod), 'cat /proc/sys/net/core/somaxconn')).trim();
    const pids = await lab.sh(
      pod.node,
      `ip netns exec ${pod.network.netns} sh -c 'echo ${SLOW.backlog} >/proc/sys/net/core/somaxconn'
ip netns exec ${pod.network.netns} socat TCP-LISTEN:${SLOW.port},backlog=128 STDOUT </dev/null >/dev/null 2>&1 &
server=$!
. /run/lab/build/listens.sh
listens $server tcp ${SLOW.port}
kill -STOP $server
setsid ip netns exec ${client.network.netns} sh -c 'while sleep 0.2; do timeout 1 socat -u OPEN:/dev/null TCP:${pod.ip}:${SLOW.port},connect-timeout=0.3 & done' </dev/null >/dev/null 2>&1 &
echo $server $!`,
    );
    return { before, pids: pids.trim() };
  },
  async prove(lab, at) {
    const pod = podAt(lab, at, 'web');
    const count = `awk '/^TcpExt:/ { if (!n) { for (i = 1; i <= NF; i++) if ($i == "ListenOverflows") n = i } else print $n }' /proc/net/netstat`;
    await lab.sh(
      nameOf(pod),
      `before=$(${count}); for i in $(seq 100); do [ $(${count}) = $before ] || exit 0; sleep 0.1; done; exit 1`,
    );
    await expectPackets(lab, { pass: [ping(at.peer, pod.ip), tcp(at.peer, pod.ip, 8080)], fail: [] });
  },
  async heal(lab, at, saved) {
    const pod = podAt(lab, at, 'web');
    const [server, clients] = (saved['pids'] ?? '').split(' ');
    await lab.sh(
      pod.node,
      `kill -KILL ${server}
kill -KILL -${clients}
ip netns exec ${pod.network.netns} sh -c 'echo ${saved['before']} >/proc/sys/net/core/somaxconn'`,
    );
  },
  expects: riskOnly('accept-queue-overflow'),
};

/** Something done to the way between a node and netcheck's pod on it, with what undoes it. */
function cut(
  rest: Pick<Fault, 'name' | 'row' | 'title' | 'expects'>,
  inject: (
    pod: ReturnType<typeof podAt>,
    lab: Handle,
    at: At,
  ) => { readonly in: string; readonly do: string; readonly undo: string },
): Fault {
  return {
    ...rest,
    placement: 'node',
    async inject(lab, at): Promise<Saved> {
      const step = inject(podAt(lab, at, 'probe'), lab, at);
      await lab.sh(step.in, step.do);
      return { in: step.in, undo: step.undo };
    },
    async prove(lab, at) {
      const { ip } = podAt(lab, at, 'probe');
      await expectPackets(lab, {
        pass: [ping(at.peer, lab.node(at.node).ip)],
        fail: [ping(at.peer, ip), tcp(at.peer, ip, CLUSTER.probePort)],
      });
    },
    async heal(lab, _at, saved) {
      await lab.sh(saved['in'] ?? '', saved['undo'] ?? '');
    },
  };
}

export const podLinkDown = cut(
  {
    name: 'pod-link-down',
    row: 'P2',
    title: "the node's end of a pod's veth pair is down",
    expects: failsProbePod('pod-link-down', 'L2'),
  },
  ({ node, network: { veth } }) => ({ in: node, do: `ip link set ${veth} down`, undo: `ip link set ${veth} up` }),
);

export const podOffBridge = cut(
  {
    name: 'pod-off-bridge',
    row: 'P2',
    title: "the node's end of a pod's veth pair is not on the bridge",
    expects: failsProbePod('pod-off-bridge', 'L2'),
  },
  ({ node, network: { veth } }) => ({
    in: node,
    do: `ip link set ${veth} nomaster`,
    undo: `ip link set ${veth} master cni0\nip link set ${veth} type bridge_slave hairpin on`,
  }),
);

/** The MAC address of an interface that is not there any more. */
const OLD_MAC = '0a:58:00:00:de:ad';

export const podNeighbourStale = cut(
  {
    name: 'pod-neighbour-stale',
    row: 'P2',
    title: "the node's neighbour entry for a pod has a MAC address that the pod does not have",
    expects: failsProbePod('pod-neighbour-stale', 'L2'),
  },
  ({ node, ip }) => ({
    in: node,
    do: `ip neigh replace ${ip} lladdr ${OLD_MAC} dev cni0 nud permanent`,
    undo: `ip neigh del ${ip} dev cni0`,
  }),
);

export const podMacElsewhere = cut(
  {
    name: 'pod-mac-elsewhere',
    row: 'P2',
    title: "the bridge has an entry that stays for a pod's MAC address at the port of another pod",
    expects: failsProbePod('pod-mac-elsewhere', 'L2'),
  },
  ({ node, network: { mac } }, lab, at) => {
    const other = podAt(lab, at, 'web').network.veth;
    return {
      in: node,
      do: `bridge fdb replace ${mac} dev ${other} master static sticky`,
      undo: `bridge fdb del ${mac} dev ${other} master`,
    };
  },
);

export const podAddressMissing = cut(
  {
    name: 'pod-address-missing',
    row: 'P3',
    title: 'a pod has another address than the API server says',
    expects: failsProbePod('pod-address-missing', 'L3'),
  },
  (pod, lab) => {
    const { bridgeIp } = lab.node(pod.node);
    const other = bridgeIp.replace(/1$/, '200');
    const change = (from: string, to: string): string =>
      `ip addr del ${from}/24 dev eth0\nip addr add ${to}/24 brd + dev eth0\nip route add default via ${bridgeIp}`;
    return { in: nameOf(pod), do: change(pod.ip, other), undo: change(other, pod.ip) };
  },
);

export const podDefaultRouteMissing = cut(
  {
    name: 'pod-default-route-missing',
    row: 'P3',
    title: 'a pod has no default route',
    expects: failsProbePod('pod-default-route-missing', 'L3'),
  },
  (pod, lab) => ({
    in: nameOf(pod),
    do: 'ip route del default',
    undo: `ip route add default via ${lab.node(pod.node).bridgeIp}`,
  }),
);

export const podGatewayWrong = cut(
  {
    name: 'pod-gateway-wrong',
    row: 'P3',
    title: "a pod's default route goes to an address that nobody has",
    expects: failsProbePod('pod-gateway-wrong', 'L3'),
  },
  (pod, lab) => {
    const { bridgeIp } = lab.node(pod.node);
    return {
      in: nameOf(pod),
      do: `ip route replace default via ${bridgeIp.replace(/1$/, '222')}`,
      undo: `ip route replace default via ${bridgeIp}`,
    };
  },
);

export const podRouteMissing = cut(
  {
    name: 'pod-route-missing',
    row: 'P3',
    title: 'a node has lost the route to its own pods',
    expects: (_lab, at) => ({
      status: 'failed',
      layer: 'L3',
      codes: [{ code: 'pod-route-missing', node: at.node }],
      nodes: [at.node],
    }),
  },
  (pod, lab) => {
    const { podCIDR, bridgeIp } = lab.node(pod.node);
    return {
      in: pod.node,
      do: `ip route del ${podCIDR} dev cni0`,
      undo: `ip route add ${podCIDR} dev cni0 proto kernel scope link src ${bridgeIp}`,
    };
  },
);

/** Another resolv.conf in a pod, in the same file, which is mounted into it. */
function resolver(name: string, title: string, change: string): Fault {
  return {
    name,
    row: 'D5',
    title,
    placement: 'node',
    async inject(lab, at) {
      const { node, network } = podAt(lab, at, 'web');
      const file = `/etc/netns/${network.netns}/resolv.conf`;
      const before = await lab.sh(node, `cat ${file}`);
      await lab.sh(node, `text=$(sed '${change}' ${file})\necho "$text" >${file}`);
      return { before };
    },
    async prove(lab, at) {
      const pod = podAt(lab, at, 'web');
      const { exitCode } = await lab.exec(nameOf(pod), ['getent', 'ahostsv4', 'kube-dns.kube-system']);
      const control = await lab.exec(nameOf(podAt(lab, at, 'client')), ['getent', 'ahostsv4', 'kube-dns.kube-system']);
      if (exitCode === 0 || control.exitCode !== 0) throw new Error('the name resolves in the pod, or nowhere');
    },
    async heal(lab, at, saved) {
      const { node, network } = podAt(lab, at, 'web');
      await lab.sh(node, `cat >/etc/netns/${network.netns}/resolv.conf <<'END'\n${(saved['before'] ?? '').trimEnd()}\nEND`);
    },
    expects: riskOnly(name),
  };
}

export const podNameserverWrong = resolver(
  'pod-nameserver-wrong',
  "a pod asks the resolver outside instead of the cluster's",
  's/^nameserver .*/nameserver 10.28.0.1/',
);

export const podSearchWrong = resolver(
  'pod-search-wrong',
  'a pod searches none of the domains of the cluster',
  's/^search .*/search example.com/',
);

/** As `port-not-listening`, where somebody asks about that very pod: then its ports are connected to. */
export const namedPodRefuses: Fault = {
  ...portNotListening,
  name: 'named-pod-refuses',
  title: 'a pod behind a Service is there, but its process is not, and a run is about that pod',
  request: (lab, at) => ({ kind: 'pod', namespace: 'default', pod: podAt(lab, at, 'web').name }),
  expects: (_lab, at) => ({
    status: 'failed',
    layer: 'L4',
    codes: [{ code: 'port-not-listening', node: 'default/web' }],
    risks: ['rollout-without-readiness-probe', 'rollout-without-pre-stop'],
    nodes: [at.node],
  }),
};

export const declaredPortNotListening: Fault = {
  name: 'declared-port-not-listening',
  row: 'P4',
  title: 'nothing listens on a port that a pod declares and no Service sends to, and a run is about that pod',
  placement: 'node',
  async inject(lab, at) {
    await end(lab, podAt(lab, at, 'client'), 'client');
    return {};
  },
  async prove(lab, at) {
    const { ip } = podAt(lab, at, 'client');
    await expectPackets(lab, { pass: [ping(at.peer, ip)], fail: [tcp(at.peer, ip, 8080)] });
  },
  heal: (lab, at) => start(lab, podAt(lab, at, 'client')),
  request: (lab, at) => ({ kind: 'pod', namespace: 'default', pod: podAt(lab, at, 'client').name }),
  expects: riskOnly('declared-port-not-listening'),
};

function kubeProxyAt(lab: Handle, at: At): string {
  return `kube-proxy-${lab.node(at.node).index}`;
}

/** As kubeadm's kube-proxy has it. */
export const hostNetworkDnsPolicy: Fault = {
  name: 'host-network-dns-policy',
  row: 'D5',
  title: 'a pod on the network of its node has dnsPolicy ClusterFirst, and a run is about that pod',
  placement: 'node',
  async inject(lab, at) {
    await setDnsPolicy(lab, at, 'ClusterFirst');
    return {};
  },
  async prove(lab, at) {
    const { exitCode } = await lab.exec(at.node, ['getent', 'ahostsv4', 'kube-dns.kube-system.svc.cluster.local']);
    if (exitCode === 0) throw new Error('names of Services resolve on the node');
    const { body } = await lab.api('GET', kubeProxyPath(lab, at));
    const { dnsPolicy } = (body as { spec: { dnsPolicy: string } }).spec;
    if (dnsPolicy !== 'ClusterFirst') throw new Error(`its dnsPolicy is ${dnsPolicy}`);
  },
  heal: (lab, at) => setDnsPolicy(lab, at, 'Default'),
  request: (lab, at) => ({ kind: 'pod', namespace: 'kube-system', pod: kubeProxyAt(lab, at) }),
  expects: riskOnly('host-network-dns-policy'),
};

function kubeProxyPath(lab: Handle, at: At): string {
  return `/api/v1/namespaces/kube-system/pods/${kubeProxyAt(lab, at)}`;
}

async function setDnsPolicy(lab: Handle, at: At, dnsPolicy: string): Promise<void> {
  await lab.api('PATCH', kubeProxyPath(lab, at), { spec: { dnsPolicy } });
}
