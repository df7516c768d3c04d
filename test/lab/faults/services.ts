import { serviceChain } from '../rules.ts';
import { CLUSTER, podsOf, RACK } from '../topology.ts';
import { type Fault, locatedOnly } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

const API_CHAIN = serviceChain({ service: 'default/kubernetes', name: 'https', protocol: 'tcp' });

export const kubernetesServiceRulesMissing: Fault = {
  name: 'kubernetes-service-rules-missing',
  row: 'S2',
  title: "kube-proxy's rule for the Service `kubernetes` is missing on a node",
  placement: 'node',
  async inject(lab, at) {
    const rules = (await lab.sh(at.node, 'iptables-nft -t nat -S KUBE-SERVICES')).trim().split('\n').slice(1);
    const index = rules.findIndex((rule) => rule.endsWith(`-j ${API_CHAIN}`));
    const rule = rules[index];
    if (rule === undefined) throw new Error(`${at.node} has no rule for the Service kubernetes`);
    await lab.sh(at.node, `iptables-nft -t nat -D KUBE-SERVICES ${index + 1}`);
    return { rule: rule.replace('-A KUBE-SERVICES', `-I KUBE-SERVICES ${index + 1}`) };
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [
        tcp(at.peer, CLUSTER.apiService, 443),
        tcp(at.node, RACK.controlPlane.ip, CLUSTER.apiPort),
        tcp(at.node, CLUSTER.webService, 80),
      ],
      fail: [tcp(at.node, CLUSTER.apiService, 443), tcp(`default/client-${lab.node(at.node).index}`, CLUSTER.apiService, 443)],
    }),
  async heal(lab, at, saved) {
    await lab.sh(at.node, `iptables-nft -t nat ${saved['rule']}`);
  },
  expects: (_lab, at) => locatedOnly('failed', 'L4', [at.node]),
};

const POLICIES = '/apis/networking.k8s.io/v1/namespaces/default/networkpolicies';

/**
 * The policy as an enforcing controller puts it into rules, after kube-router (which names its chains so): pods of the
 * namespace accept and send nothing, but for what their own node sends them.
 */
export const networkPolicyDefaultDeny: Fault = {
  name: 'network-policy-default-deny',
  row: 'P9',
  title: 'a NetworkPolicy denies everything to and from the pods of `default`: nothing is broken',
  placement: 'cluster',
  async inject(lab) {
    await lab.api('POST', POLICIES, {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'default-deny', namespace: 'default' },
      spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] },
    });
    const pods = [...podsOf(lab.topology, 'web'), ...podsOf(lab.topology, 'client')];
    await Promise.all(
      lab.topology.nodes.map((node) => {
        const addresses = pods.filter((pod) => pod.node === node.name).map((pod) => pod.ip);
        const deny = addresses.flatMap((ip) => [
          `-A KUBE-ROUTER-FORWARD -d ${ip}/32 -m comment --comment "network policies of pod ${ip}" -j KUBE-NWPLCY-DENY`,
          `-A KUBE-ROUTER-FORWARD -s ${ip}/32 -m comment --comment "network policies of pod ${ip}" -j KUBE-NWPLCY-DENY`,
        ]);
        const lines = [
          '*filter',
          ':KUBE-ROUTER-FORWARD - [0:0]',
          ':KUBE-NWPLCY-DENY - [0:0]',
          '-I FORWARD 1 -m comment --comment "kube-router netpol" -j KUBE-ROUTER-FORWARD',
          ...deny,
          '-A KUBE-NWPLCY-DENY -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN',
          '-A KUBE-NWPLCY-DENY -j REJECT --reject-with icmp-port-unreachable',
          'COMMIT',
        ];
        return lab.sh(node.name, `iptables-nft-restore --noflush <<'END'\n${lines.join('\n')}\nEND`);
      }),
    );
    return {};
  },
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
  async heal(lab) {
    await lab.api('DELETE', `${POLICIES}/default-deny`);
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
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], nodes: [] }),
};
