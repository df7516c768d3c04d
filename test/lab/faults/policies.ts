import type { Handle } from '../handle.ts';
import { CLUSTER, type LabPod, podsOf } from '../topology.ts';
import type { Expectation, Fault } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

type Policy = { readonly name: string; readonly namespace: string; readonly spec: object };

function pathOf(namespace: string): string {
  return `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`;
}

async function create(lab: Handle, { name, namespace, spec }: Policy): Promise<void> {
  await lab.api('POST', pathOf(namespace), {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name, namespace },
    spec,
  });
}

/**
 * What an enforcing controller puts into rules, after kube-router (which names its chains so): pods accept and send nothing
 * but for what their own node sends them, and what `allow` matches.
 */
async function enforce(lab: Handle, pods: readonly LabPod[], allow = ''): Promise<void> {
  await Promise.all(
    lab.topology.nodes.map((node) => {
      const addresses = pods.filter((pod) => pod.node === node.name).map((pod) => pod.ip);
      const deny = addresses.flatMap((ip) => [
        `-A KUBE-ROUTER-FORWARD -d ${ip}/32 -m comment --comment "network policies of pod ${ip}" -j KUBE-NWPLCY-DENY`,
        ...(allow === ''
          ? [`-A KUBE-ROUTER-FORWARD -s ${ip}/32 -m comment --comment "network policies of pod ${ip}" -j KUBE-NWPLCY-DENY`]
          : []),
      ]);
      const lines = [
        '*filter',
        ':KUBE-ROUTER-FORWARD - [0:0]',
        ':KUBE-NWPLCY-DENY - [0:0]',
        '-I FORWARD 1 -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD',
        ...deny,
        '-A KUBE-NWPLCY-DENY -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN',
        ...(allow === '' ? [] : [`-A KUBE-NWPLCY-DENY ${allow} -j RETURN`]),
        '-A KUBE-NWPLCY-DENY -j REJECT --reject-with icmp-port-unreachable',
        'COMMIT',
      ];
      return lab.sh(node.name, `iptables-nft-restore --noflush <<'END'\n${lines.join('\n')}\nEND`);
    }),
  );
}

async function stopEnforcing(lab: Handle): Promise<void> {
  const lines = [
    '*filter',
    '-D FORWARD -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD',
    '-F KUBE-ROUTER-FORWARD',
    '-F KUBE-NWPLCY-DENY',
    '-X KUBE-ROUTER-FORWARD',
    '-X KUBE-NWPLCY-DENY',
    'COMMIT',
  ];
  await Promise.all(
    lab.topology.nodes.map((node) => lab.sh(node.name, `iptables-nft-restore --noflush <<'END'\n${lines.join('\n')}\nEND`)),
  );
}

function healthyWith(...risks: readonly string[]): () => Expectation {
  return () => ({ status: 'healthy', layer: null, codes: [], ...(risks.length === 0 ? {} : { risks }), nodes: [] });
}

/** A policy with its rules in place, where there are pods to enforce it for. */
function policy(
  rest: Pick<Fault, 'name' | 'title' | 'prove' | 'expects'>,
  object: Policy,
  enforced: { readonly pods: (lab: Handle) => readonly LabPod[]; readonly allow?: string } | null,
): Fault {
  return {
    row: 'P9',
    placement: 'cluster',
    ...rest,
    async prove(lab, at) {
      // Throws when there is none; some policies change nothing else that can be seen.
      await lab.api('GET', `${pathOf(object.namespace)}/${object.name}`);
      await rest.prove(lab, at);
    },
    async inject(lab) {
      await create(lab, object);
      if (enforced !== null) await enforce(lab, enforced.pods(lab), enforced.allow);
      return {};
    },
    async heal(lab) {
      await lab.api('DELETE', `${pathOf(object.namespace)}/${object.name}`);
      if (enforced !== null) await stopEnforcing(lab);
    },
  };
}

const DENY_ALL = { podSelector: {}, policyTypes: ['Ingress', 'Egress'] };

export const networkPolicyDefaultDeny = policy(
  {
    name: 'network-policy-default-deny',
    title: 'a NetworkPolicy denies everything to and from the pods of `default`: nothing is broken',
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [
          ping(at.node, lab.node(at.peer).ip),
          ping(at.node, podIp(lab, 'probe', at.peer)),
          tcp(at.node, podIp(lab, 'web', at.node), 8080),
        ],
        fail: [
          tcp(at.node, podIp(lab, 'web', at.peer), 8080),
          tcp(`default/client-${lab.node(at.node).index}`, podIp(lab, 'web', at.peer), 8080),
        ],
      }),
    expects: healthyWith(),
  },
  { name: 'default-deny', namespace: 'default', spec: DENY_ALL },
  { pods: (lab) => [...podsOf(lab.topology, 'web'), ...podsOf(lab.topology, 'client')] },
);

const DENY_INGRESS = {
  podSelector: {},
  policyTypes: ['Ingress'],
  ingress: [{ from: [{ podSelector: {} }], ports: [{ port: 1 }] }],
};

export const networkPolicyDeniesProbes = policy(
  {
    name: 'network-policy-denies-probes',
    title: "a NetworkPolicy denies everything to netcheck's own pods: nothing is broken",
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [ping(at.node, lab.node(at.peer).ip), tcp(at.node, podIp(lab, 'web', at.peer), 8080)],
        fail: [tcp(at.node, podIp(lab, 'probe', at.peer), CLUSTER.probePort)],
      }),
    expects: healthyWith('policy-denies'),
  },
  { name: 'agents', namespace: CLUSTER.agentNamespace, spec: DENY_INGRESS },
  { pods: (lab) => podsOf(lab.topology, 'probe'), allow: '-p icmp' },
);

export const networkPolicyNotEnforced = policy(
  {
    name: 'network-policy-not-enforced',
    title: "a NetworkPolicy denies everything to netcheck's own pods, and nothing enforces it",
    prove: (lab, at) => expectPackets(lab, { pass: [tcp(at.node, podIp(lab, 'probe', at.peer), CLUSTER.probePort)], fail: [] }),
    expects: healthyWith('policy-not-enforced'),
  },
  { name: 'agents', namespace: CLUSTER.agentNamespace, spec: DENY_INGRESS },
  null,
);

export const networkPolicyNamesServicePort = policy(
  {
    name: 'network-policy-names-service-port',
    title: "a NetworkPolicy allows the port of a Service instead of its pods' port",
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [ping(at.node, podIp(lab, 'client', at.peer))],
        fail: [tcp(at.node, podIp(lab, 'web', at.peer), 8080)],
      }),
    expects: healthyWith('policy-names-service-port'),
  },
  {
    name: 'web',
    namespace: 'default',
    spec: {
      podSelector: { matchLabels: { app: 'web' } },
      policyTypes: ['Ingress'],
      ingress: [{ ports: [{ protocol: 'TCP', port: 80 }] }],
    },
  },
  { pods: (lab) => podsOf(lab.topology, 'web'), allow: '-p tcp --dport 80' },
);

/** Nothing follows from these in any network; the proof is that what they were to protect is open. */
const proveOpen: Fault['prove'] = (lab, at) =>
  expectPackets(lab, { pass: [tcp(at.node, podIp(lab, 'client', at.peer), 8080)], fail: [] });

export const networkPolicySelectsNothing = policy(
  {
    name: 'network-policy-selects-nothing',
    title: 'a NetworkPolicy selects a label with a letter wrong',
    prove: proveOpen,
    expects: healthyWith('policy-selects-nothing'),
  },
  { name: 'client', namespace: 'default', spec: { podSelector: { matchLabels: { app: 'cliemt' } }, policyTypes: ['Ingress'] } },
  null,
);

export const networkPolicyPeerMatchesNothing = policy(
  {
    name: 'network-policy-peer-matches-nothing',
    title: 'a NetworkPolicy names a namespace by a label that none has',
    prove: proveOpen,
    expects: healthyWith('policy-peer-matches-nothing'),
  },
  {
    name: 'from-system',
    namespace: 'default',
    spec: {
      podSelector: { matchLabels: { app: 'client' } },
      policyTypes: ['Egress'],
      egress: [{ to: [{ namespaceSelector: { matchLabels: { name: 'kube-system' } } }] }, {}],
    },
  },
  null,
);
