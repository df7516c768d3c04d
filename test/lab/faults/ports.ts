import type { Handle } from '../handle.ts';
import type { At, Fault } from './fault.ts';

const RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
const SERVICES = '/api/v1/namespaces/default/services';
const PODS = '/api/v1/namespaces/kube-system/pods';

/** A Service with a NodePort, and no pods behind it. */
async function addNodePort(lab: Handle): Promise<void> {
  await lab.api('POST', SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'shop', namespace: 'default' },
    spec: {
      type: 'NodePort',
      clusterIP: '172.26.7.7',
      selector: { app: 'shop' },
      ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 8080, nodePort: 30_080 }],
    },
  });
}

const removeNodePort = (lab: Handle) => lab.api('DELETE', `${SERVICES}/shop`);

export const localPortsOverlap: Fault = {
  name: 'local-ports-overlap',
  row: 'N9',
  title: 'connections of a node get ports from 15000 on, those of NodePorts among them',
  placement: 'node',
  async inject(lab, at) {
    await addNodePort(lab);
    return { range: await lab.sh(at.node, `cat ${RANGE}\necho 15000 60999 >${RANGE}`) };
  },
  async prove(lab, at) {
    const range = await lab.sh(at.node, `cat ${RANGE}`);
    if (range.split(/\s+/)[0] !== '15000') throw new Error(`${at.node} has the range ${range}, which must begin at 15000`);
  },
  async heal(lab, at, saved) {
    await lab.sh(at.node, `echo '${(saved['range'] ?? '').trim()}' >${RANGE}`);
    await removeNodePort(lab);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['local-ports-overlap-node-ports'], nodes: [] }),
};

const agentPod = ({ node }: At): string => `ip-masq-agent-${node}`;

export const masqueradeAgentRandom: Fault = {
  name: 'masquerade-agent-random',
  row: 'N9',
  title: 'an ip-masq-agent 2.11 without --random-fully=false runs on a node',
  placement: 'node',
  async inject(lab, at) {
    await addNodePort(lab);
    await lab.api('POST', PODS, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: agentPod(at), namespace: 'kube-system', labels: { 'k8s-app': 'ip-masq-agent' } },
      spec: {
        nodeName: at.node,
        hostNetwork: true,
        containers: [
          { name: 'ip-masq-agent', image: 'registry.k8s.io/networking/ip-masq-agent:v2.11.0', args: ['--masq-chain=IP-MASQ'] },
        ],
      },
      status: {
        phase: 'Running',
        podIP: lab.node(at.node).ip,
        conditions: [{ type: 'Ready', status: 'True' }],
        containerStatuses: [
          { name: 'ip-masq-agent', ready: true, restartCount: 0, state: { running: { startedAt: '2026-11-20T00:00:00Z' } } },
        ],
      },
    });
    return {};
  },
  async prove(lab, at) {
    const { status } = await lab.api('GET', `${PODS}/${agentPod(at)}`, undefined, [404]);
    if (status === 404) throw new Error(`the pod ${agentPod(at)} must be there`);
  },
  async heal(lab, at) {
    await lab.api('DELETE', `${PODS}/${agentPod(at)}`);
    await removeNodePort(lab);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['masquerade-overlaps-node-ports'], nodes: [] }),
};
