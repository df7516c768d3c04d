import { NODE_LOCAL_DNS } from '../../../src/checks/kit/node-local-dns.ts';
import type { Handle } from '../handle.ts';
import { CLUSTER, type LabNode } from '../topology.ts';
import type { At, Fault } from './fault.ts';
import { dns, expectPackets } from './packets.ts';

/*
 * NodeLocal DNSCache on every node, as its manifest leaves it: a device with the address, a cache that listens there, a
 * hostNetwork pod. A bridge without ports stands in for the dummy device, which not every kernel has.
 */

const PODS = '/api/v1/namespaces/kube-system/pods';
const CONFIGURATION = '/tmp/node-local-dns.conf';
const UNIT = '/run/node-local-dns.pid';

const podName = ({ index }: LabNode): string => `node-local-dns-${index}`;

const START = `sed 's/interface: .*/interface: ${NODE_LOCAL_DNS}/' /run/lab/build/coredns.conf >${CONFIGURATION}
coredns -d -c ${CONFIGURATION} </dev/null >/dev/null 2>&1 &
echo $! >${UNIT}
until dig +tries=1 +timeout=1 @${NODE_LOCAL_DNS} kubernetes.default.svc.${CLUSTER.domain} | grep -q NOERROR; do kill -0 $(cat ${UNIT}); done`;
const DEVICE = `ip link add nodelocaldns type bridge
ip link set nodelocaldns up
ip addr add ${NODE_LOCAL_DNS}/32 dev nodelocaldns`;
const STOP = `pid=$(cat ${UNIT})
kill $pid 2>/dev/null || true
while kill -0 $pid 2>/dev/null; do :; done`;

function podObject(node: LabNode): { readonly spec: object; readonly status: object } {
  const created = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const name = podName(node);
  const container = { name: 'node-cache', image: 'registry.k8s.io/dns/k8s-dns-node-cache:1.26.4' };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'kube-system',
      labels: { 'k8s-app': 'node-local-dns', 'pod-template-generation': '1' },
    },
    spec: {
      nodeName: node.name,
      hostNetwork: true,
      dnsPolicy: 'Default',
      containers: [container],
      tolerations: [{ operator: 'Exists' }],
    },
    status: {
      phase: 'Running',
      hostIP: node.ip,
      podIP: node.ip,
      podIPs: [{ ip: node.ip }],
      startTime: created,
      conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: created }],
      containerStatuses: [
        {
          ...container,
          imageID: '',
          ready: true,
          started: true,
          restartCount: 0,
          state: { running: { startedAt: created } },
        },
      ],
    },
  } as { readonly spec: object; readonly status: object };
}

async function install(lab: Handle): Promise<void> {
  await Promise.all(
    lab.topology.nodes.map(async (node) => {
      await lab.sh(node.name, `${DEVICE}\n${START}`);
      const pod = podObject(node);
      await lab.api('POST', PODS, pod);
      await lab.api('PATCH', `${PODS}/${podName(node)}/status`, { status: pod.status });
    }),
  );
}

async function uninstall(lab: Handle): Promise<void> {
  await Promise.all(
    lab.topology.nodes.map(async (node) => {
      await lab.api('DELETE', `${PODS}/${podName(node)}?gracePeriodSeconds=0`);
      await lab.sh(node.name, `${STOP}\nip link del nodelocaldns 2>/dev/null || true\nrm -f ${UNIT} ${CONFIGURATION}`);
    }),
  );
}

const client = (lab: Handle, node: string): string => `default/client-${lab.node(node).index}`;

/** The cache answers on one node, and neither the other node's own processes nor its pods reach theirs. */
const onlyOthersAnswer: Fault['prove'] = (lab, at) =>
  expectPackets(lab, {
    pass: [dns(at.peer, NODE_LOCAL_DNS), dns(client(lab, at.peer), NODE_LOCAL_DNS), dns(at.node, CLUSTER.dnsService)],
    fail: [dns(at.node, NODE_LOCAL_DNS), dns(client(lab, at.node), NODE_LOCAL_DNS)],
  });

function failsOn(code: string, mentions: readonly string[]): Fault['expects'] {
  return (lab: Handle, at: At) => ({
    status: 'failed',
    layer: 'DNS',
    codes: [{ code, node: at.node }],
    nodes: [podName(lab.node(at.node))],
    mentions,
  });
}

export const nodeLocalDns: Fault = {
  name: 'node-local-dns',
  row: 'D8',
  title: 'NodeLocal DNSCache runs on every node: nothing is broken',
  placement: 'cluster',
  async inject(lab) {
    await install(lab);
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [at.node, at.peer].flatMap((node) => [dns(node, NODE_LOCAL_DNS), dns(client(lab, node), NODE_LOCAL_DNS)]),
      fail: [],
    }),
  heal: uninstall,
  expects: () => ({ status: 'healthy', layer: null, codes: [], nodes: [] }),
};

export const nodeLocalDnsDown: Fault = {
  name: 'node-local-dns-down',
  row: 'D8',
  title: 'NodeLocal DNSCache runs on every node, and crashes on one',
  placement: 'node',
  async inject(lab, at) {
    await install(lab);
    await lab.sh(at.node, STOP);
    const { status } = podObject(lab.node(at.node)) as { status: { containerStatuses: readonly object[] } };
    const crashed = {
      ...status.containerStatuses[0],
      ready: false,
      started: false,
      restartCount: 5,
      state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off 2m40s restarting failed container=node-cache' } },
    };
    const conditions = [
      { type: 'Ready', status: 'False', reason: 'ContainersNotReady', message: 'containers with unready status: [node-cache]' },
    ];
    await lab.api('PATCH', `${PODS}/${podName(lab.node(at.node))}/status`, {
      status: { containerStatuses: [crashed], conditions },
    });
    return {};
  },
  prove: onlyOthersAnswer,
  heal: uninstall,
  expects: failsOn('node-local-dns-down', ['CrashLoopBackOff', '5 restarts']),
};

export const nodeLocalDnsBypassed: Fault = {
  name: 'node-local-dns-bypassed',
  row: 'D8',
  title: 'NodeLocal DNSCache runs on every node, and the device with its address is gone from one',
  placement: 'node',
  async inject(lab, at) {
    await install(lab);
    await lab.sh(at.node, 'ip link del nodelocaldns');
    return {};
  },
  prove: onlyOthersAnswer,
  heal: uninstall,
  expects: failsOn('node-local-dns-bypassed', [NODE_LOCAL_DNS, 'no device']),
};
