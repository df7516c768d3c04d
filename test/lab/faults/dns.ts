import type { Handle } from '../handle.ts';
import { CLUSTER, type LabPod } from '../topology.ts';
import { type At, type Expectation, type Fault } from './fault.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';

/** The CoreDNS pod of the node that is named, else the last one. */
function victim(lab: Handle, at: At): LabPod {
  const pods = lab.topology.pods.filter((pod) => pod.role === 'coredns');
  const pod = pods.find((candidate) => candidate.node === at.node);
  if (pod === undefined)
    throw new Error(`there is no CoreDNS pod on ${at.node}: take ${pods.map(({ node }) => node).join(' or ')}`);
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
