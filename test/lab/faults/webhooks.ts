import type { Handle } from '../handle.ts';
import { type ServicePort, serviceSections } from '../rules.ts';
import { CLUSTER, RACK } from '../topology.ts';
import type { At, Fault } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

/*
 * Webhooks, in a cluster one of whose nodes (the peer) has an API server: what listens there leads to the lab's own, and so does
 * what listens behind the webhook, which needs to speak TLS. The API server of the lab itself calls no webhooks.
 */

const HOOK = { name: 'policy-webhook', clusterIP: '172.26.80.90', port: 443, target: 9443 } as const;
const WEBHOOK = 'validate.policy.example.com';
const SLICES = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices';
const SERVICES = '/api/v1/namespaces/default/services';
const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations';
const SERVER = `TCP:${RACK.controlPlane.ip}:${CLUSTER.apiPort}`;

/** The endpoint behind the webhook. `target` is the address; `pod` the name of the pod that has it, or null. */
type Backend = { readonly ip: string; readonly node: string; readonly pod: string | null };

function inPod(lab: Handle, at: At): Backend {
  return { ip: podIp(lab, 'web', at.node), node: at.node, pod: `web-${lab.node(at.node).index}` };
}

function servicePort(endpoints: readonly Backend[]): ServicePort {
  return {
    service: `default/${HOOK.name}`,
    name: 'https',
    protocol: 'tcp',
    clusterIP: HOOK.clusterIP,
    port: HOOK.port,
    endpoints: endpoints.map(({ ip }) => `${ip}:${HOOK.target}`),
  };
}

/** A process that passes connections on to the API server; its pid is kept on the node. */
async function listen(lab: Handle, node: string, place: string, port: number): Promise<void> {
  const pid = await lab.sh(
    place,
    `socat TCP-LISTEN:${port},fork,reuseaddr,backlog=128 ${SERVER} </dev/null >/dev/null 2>&1 &
until ss -Hltn 'sport = ${port}' | grep -q .; do kill -0 $!; done
echo $!`,
  );
  await lab.sh(node, `echo ${pid.trim()} >/run/listens-${port}`);
}

const stop = (lab: Handle, node: string, port: number): Promise<string> =>
  lab.sh(node, `if [ -e /run/listens-${port} ]; then kill $(cat /run/listens-${port}); rm /run/listens-${port}; fi`);

/** The objects of the webhook, the rules of its Service on every node, and an API server on the peer. */
async function putUp(lab: Handle, at: At, endpoints: readonly Backend[]): Promise<void> {
  await listen(lab, at.peer, at.peer, CLUSTER.apiPort);
  const api = (ip: string): object => ({ addresses: [ip], conditions: { ready: true } });
  await lab.api('PATCH', `${SLICES}/kubernetes`, { endpoints: [RACK.controlPlane.ip, lab.node(at.peer).ip].map(api) });
  await lab.api('POST', SERVICES, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: HOOK.name, namespace: 'default' },
    spec: {
      type: 'ClusterIP',
      clusterIP: HOOK.clusterIP,
      clusterIPs: [HOOK.clusterIP],
      ports: [{ name: 'https', port: HOOK.port, protocol: 'TCP', targetPort: HOOK.target }],
    },
  });
  await lab.api('POST', SLICES, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${HOOK.name}-x7k2p`, namespace: 'default', labels: { 'kubernetes.io/service-name': HOOK.name } },
    addressType: 'IPv4',
    endpoints: endpoints.map(({ ip, node, pod }) => ({
      addresses: [ip],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: node,
      ...(pod === null ? {} : { targetRef: { kind: 'Pod', namespace: 'default', name: pod } }),
    })),
    ports: [{ name: 'https', port: HOOK.target, protocol: 'TCP' }],
  });
  await configure(lab);
  const { chains, rules } = serviceSections(lab.topology, [servicePort(endpoints)]);
  const rejection = `-A KUBE-SERVICES -d ${HOOK.clusterIP}/32 -p tcp -m comment --comment "default/${HOOK.name}:https has no endpoints" -m tcp --dport ${HOOK.port} -j REJECT --reject-with icmp-port-unreachable`;
  await Promise.all(
    lab.topology.nodes.map(({ name }) =>
      lab.sh(
        name,
        `iptables-nft-save >/run/rules-before
iptables-nft-restore --noflush <<'END'
${endpoints.length === 0 ? `*filter\n${rejection}\n` : `*nat\n${chains}${rules}`}COMMIT
END`,
      ),
    ),
  );
}

async function configure(lab: Handle): Promise<void> {
  await lab.api('POST', CONFIGURATIONS, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingWebhookConfiguration',
    metadata: { name: 'policy' },
    webhooks: [
      {
        name: WEBHOOK,
        clientConfig: {
          service: { namespace: 'default', name: HOOK.name, path: '/validate', port: HOOK.port },
          caBundle: Buffer.from('a certificate').toString('base64'),
        },
        rules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'], scope: '*' }],
        admissionReviewVersions: ['v1'],
        sideEffects: 'None',
        failurePolicy: 'Fail',
        timeoutSeconds: 10,
        matchPolicy: 'Equivalent',
      },
    ],
  });
}

async function takeDown(lab: Handle, at: At): Promise<void> {
  await lab.api('DELETE', `${CONFIGURATIONS}/policy`);
  await lab.api('DELETE', `${SERVICES}/${HOOK.name}`);
  await lab.api('DELETE', `${SLICES}/${HOOK.name}-x7k2p`);
  await lab.api('PATCH', `${SLICES}/kubernetes`, {
    endpoints: [{ addresses: [RACK.controlPlane.ip], conditions: { ready: true } }],
  });
  await Promise.all(
    lab.topology.nodes.map(({ name }) => lab.sh(name, 'iptables-nft-restore </run/rules-before\nrm /run/rules-before')),
  );
  await stop(lab, at.node, HOOK.target);
  await stop(lab, at.peer, CLUSTER.apiPort);
}

/** The network that shows the ports of pods between nodes. */
const NETWORKS = ['host-gw'] as const;

const TABLE = 'netdev webhook-blocked';

export const webhookBlocked: Fault = {
  name: 'webhook-blocked',
  row: 'N24',
  title: 'between the node of an API server and the node of a webhook a firewall drops the port of the webhook',
  placement: 'pair',
  networks: NETWORKS,
  async inject(lab, at) {
    const backend = inPod(lab, at);
    await listen(lab, at.node, `default/${backend.pod}`, HOOK.target);
    await putUp(lab, at, [backend]);
    await lab.sh(
      'rack',
      `nft -f - <<'END'
table ${TABLE} {
  chain c {
    type filter hook ingress device "${at.peer}" priority 0; policy accept;
    ip daddr ${backend.ip} tcp dport ${HOOK.target} counter drop
  }
}
END`,
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [tcp(at.node, podIp(lab, 'web', at.node), HOOK.target), tcp(at.peer, podIp(lab, 'web', at.node), 8080)],
      fail: [tcp(at.peer, podIp(lab, 'web', at.node), HOOK.target), tcp(at.peer, HOOK.clusterIP, HOOK.port)],
    }),
  async heal(lab, at) {
    await lab.sh('rack', `nft delete table ${TABLE}`);
    await takeDown(lab, at);
  },
  expects: (_lab, at) => ({
    status: 'failed',
    layer: 'L4',
    codes: [{ code: 'webhook-blocked' }],
    nodes: [at.peer],
    mentions: [WEBHOOK],
  }),
};

export const webhookRefused: Fault = {
  name: 'webhook-refused',
  row: 'N24',
  title: 'what is ready behind a webhook, on the network of its node, does not listen',
  placement: 'pair',
  networks: NETWORKS,
  async inject(lab, at) {
    await putUp(lab, at, [{ ip: lab.node(at.node).ip, node: at.node, pod: null }]);
    return {};
  },
  async prove(lab, at) {
    await lab.api('GET', `${CONFIGURATIONS}/policy`);
    await expectPackets(lab, {
      pass: [ping(at.peer, lab.node(at.node).ip)],
      fail: [tcp(at.peer, HOOK.clusterIP, HOOK.port), tcp(at.node, lab.node(at.node).ip, HOOK.target)],
    });
  },
  heal: takeDown,
  expects: (_lab, at) => ({
    status: 'failed',
    layer: 'L4',
    codes: [{ code: 'webhook-refused' }],
    nodes: [at.node],
    mentions: [WEBHOOK],
  }),
};

export const webhookWithoutEndpoints: Fault = {
  name: 'webhook-without-endpoints',
  row: 'N24',
  title: 'nobody is behind the Service of a webhook with failurePolicy Fail',
  placement: 'pair',
  networks: NETWORKS,
  async inject(lab, at) {
    await putUp(lab, at, []);
    return {};
  },
  async prove(lab, at) {
    await lab.api('GET', `${CONFIGURATIONS}/policy`);
    await expectPackets(lab, {
      pass: [ping(at.peer, lab.node(at.node).ip)],
      fail: [tcp(at.peer, HOOK.clusterIP, HOOK.port)],
    });
  },
  heal: takeDown,
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['webhook-without-endpoints'], nodes: [] }),
};

/** How an API server of 1.31 says that a call got no answer, in the event of a ReplicaSet. */
const ERROR = `Error creating: Internal error occurred: failed calling webhook "${WEBHOOK}": failed to call webhook: Post "https://${HOOK.name}.default.svc:${HOOK.port}/validate?timeout=10s": context deadline exceeded`;

export const webhookCallFailed: Fault = {
  name: 'webhook-call-failed',
  row: 'N24',
  title: 'no node has an API server, and it says in an event that a webhook does not answer',
  placement: 'node',
  networks: NETWORKS,
  async inject(lab) {
    await configure(lab);
    const seen = (minutes: number): string => `${new Date(Date.now() - minutes * 60_000).toISOString().slice(0, 19)}Z`;
    await lab.api('POST', '/api/v1/namespaces/default/events', {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name: 'shop-5f7c9.17c8b1f2a3d4e5f7', namespace: 'default' },
      type: 'Warning',
      reason: 'FailedCreate',
      message: ERROR,
      involvedObject: { apiVersion: 'apps/v1', kind: 'ReplicaSet', namespace: 'default', name: 'shop-5f7c9' },
      source: { component: 'replicaset-controller' },
      count: 14,
      firstTimestamp: seen(30),
      lastTimestamp: seen(2),
    });
    await lab.api('PATCH', `${CONFIGURATIONS}/policy`, {
      webhooks: [
        {
          name: WEBHOOK,
          clientConfig: { service: { namespace: 'default', name: 'web', port: 80 } },
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Ignore',
          timeoutSeconds: 5,
        },
      ],
    });
    return {};
  },
  async prove(lab) {
    await lab.api('GET', `${CONFIGURATIONS}/policy`);
    const { body } = await lab.api('GET', '/api/v1/namespaces/default/events');
    if (!JSON.stringify(body).includes('failed calling webhook')) throw new Error('no event says that a call failed');
  },
  async heal(lab) {
    await lab.api('DELETE', `${CONFIGURATIONS}/policy`);
    await lab.api('DELETE', '/api/v1/namespaces/default/events/shop-5f7c9.17c8b1f2a3d4e5f7');
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['webhook-call-failed'], nodes: [] }),
};
