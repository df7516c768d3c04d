import { serviceChain } from '../rules.ts';
import { CLUSTER, RACK } from '../topology.ts';
import { type Fault, locatedOnly } from './fault.ts';
import { expectPackets, tcp } from './packets.ts';

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
