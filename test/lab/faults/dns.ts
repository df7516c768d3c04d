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
function degraded(lab: Handle, at: At, layer: 'L3' | 'DNS' | 'L4'): Expectation {
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
  expects: (lab, at) => degraded(lab, at, 'L4'),
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

export const corednsServfail: Fault = {
  name: 'coredns-servfail',
  row: 'D2',
  title: 'one CoreDNS pod answers SERVFAIL for the names of the cluster',
  placement: 'node',
  async inject(lab, at) {
    const pod = victim(lab, at);
    await end(lab, pod, 'coredns');
    await lab.sh(
      pod.node,
      `sed '/local-zone\\|local-data/d' /run/lab/build/coredns.conf > /tmp/servfail.conf
cat >> /tmp/servfail.conf <<'END'
auth-zone:
  name: "${CLUSTER.domain}."
  primary: 127.0.0.1
  for-downstream: yes
  for-upstream: yes
  fallback-enabled: no
END
ip netns exec ${pod.network?.netns} coredns -d -c /tmp/servfail.conf </dev/null >/dev/null 2>&1 &
mount --bind /run/lab/build/${pod.network?.netns}.container /proc/$!/cgroup
until dig +tries=1 +timeout=1 @${pod.ip} kubernetes.default.svc.${CLUSTER.domain} | grep -q SERVFAIL; do :; done`,
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
    await lab.sh(pod.node, 'rm -f /tmp/servfail.conf');
    await start(lab, pod);
  },
  expects: (lab, at) => degraded(lab, at, 'DNS'),
};
