import type { Handle } from '../handle.ts';
import { serviceChain } from '../rules.ts';
import { CLUSTER, podsOf, RACK } from '../topology.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { useIptables, useNftables } from './kinds.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';
import { nodesWithDns, podIp } from './where.ts';

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
  expects: (_lab, at) => failedBy('service-rules-missing', 'L4', at, { mentions: [`${CLUSTER.apiService}:443/tcp`] }),
};

export const serviceRulesFlushed: Fault = {
  name: 'service-rules-flushed',
  row: 'S2',
  title: 'somebody has flushed the nat table of a node, and kube-proxy has not written its rules again',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      'iptables-nft-save -t nat >/run/nat-before\ngrep -v -e KUBE- /run/nat-before | iptables-nft-restore -T nat',
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [tcp(at.peer, CLUSTER.apiService, 443), tcp(at.node, RACK.controlPlane.ip, CLUSTER.apiPort)],
      fail: [tcp(at.node, CLUSTER.apiService, 443), tcp(at.node, CLUSTER.webService, 80), dns(at.node, CLUSTER.dnsService)],
    }),
  async heal(lab, at) {
    await lab.sh(at.node, 'iptables-nft-restore -T nat </run/nat-before\nrm /run/nat-before');
  },
  expects: (_lab, at) => failedBy('service-rules-missing', 'L4', at, { mentions: ['no rules of kube-proxy for any Service'] }),
};

/** Where the DNS Service still leads to on a node whose kube-proxy has missed what happened since. */
const OLD_DNS = '172.27.9.98';

const oldEndpoints = (lab: Handle): string =>
  podsOf(lab.topology, 'coredns')
    .map(({ ip }) => `-e 's/--to-destination ${ip.replaceAll('.', '\\.')}:53$/--to-destination ${OLD_DNS}:53/'`)
    .join(' ');

export const serviceRulesStale: Fault = {
  name: 'service-rules-stale',
  row: 'S2',
  title: "kube-proxy's rules on a node still lead the DNS Service to a pod that is gone",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `iptables-nft-save -t nat >/run/nat-before\nsed ${oldEndpoints(lab)} /run/nat-before | iptables-nft-restore -T nat`,
    );
    return {};
  },
  prove: (lab, at) => proveOldDns(lab, at),
  async heal(lab, at) {
    await lab.sh(at.node, 'iptables-nft-restore -T nat </run/nat-before\nrm /run/nat-before');
  },
  expects: (_lab, at) => failedBy('service-rules-stale', 'L4', at, { mentions: [`${OLD_DNS}:53`] }),
};

const proveOldDns = (lab: Handle, at: At): Promise<void> =>
  expectPackets(lab, {
    pass: [
      ...podsOf(lab.topology, 'coredns').map(({ ip }) => dns(at.node, ip)),
      dns(at.peer, CLUSTER.dnsService),
      tcp(at.node, CLUSTER.apiService, 443),
    ],
    fail: [dns(at.node, CLUSTER.dnsService)],
  });

/** Every node's Services in nftables mode, and those of one of them changed. */
function nftablesFault(rest: Pick<Fault, 'name' | 'title' | 'prove' | 'expects'>, change: (lab: Handle) => string): Fault {
  return {
    ...rest,
    row: 'S2',
    placement: 'node',
    async inject(lab, at) {
      await Promise.all(lab.topology.nodes.map(({ name }) => useNftables(lab, name)));
      await lab.sh(at.node, change(lab));
      return {};
    },
    async heal(lab) {
      await Promise.all(lab.topology.nodes.map(({ name }) => useIptables(lab, name)));
    },
  };
}

export const serviceRulesMissingNft = nftablesFault(
  {
    name: 'service-rules-missing-nft',
    title: 'kube-proxy works in nftables mode, and on a node its map lacks the Service `kubernetes`',
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [tcp(at.peer, CLUSTER.apiService, 443), tcp(at.node, CLUSTER.webService, 80)],
        fail: [tcp(at.node, CLUSTER.apiService, 443)],
      }),
    expects: (_lab, at) => failedBy('service-rules-missing', 'L4', at, { mentions: [`${CLUSTER.apiService}:443/tcp`] }),
  },
  () => `nft delete element ip kube-proxy service-ips '{ ${CLUSTER.apiService} . tcp . 443 }'`,
);

export const serviceRulesStaleNft = nftablesFault(
  {
    name: 'service-rules-stale-nft',
    title: 'kube-proxy works in nftables mode, and on a node the DNS Service still leads to a pod that is gone',
    prove: (lab, at) => proveOldDns(lab, at),
    expects: (_lab, at) => failedBy('service-rules-stale', 'L4', at, { mentions: [`${OLD_DNS}:53`] }),
  },
  (lab) =>
    `nft list table ip kube-proxy | sed ${podsOf(lab.topology, 'coredns')
      .map(({ ip }) => `-e 's/dnat to ${ip.replaceAll('.', '\\.')}:53$/dnat to ${OLD_DNS}:53/'`)
      .join(' ')} >/run/proxy.nft
nft delete table ip kube-proxy
nft -f /run/proxy.nft
rm /run/proxy.nft`,
);

const BRIDGE_CALLS = '/proc/sys/net/bridge/bridge-nf-call-iptables';

export const bridgeNetfilterOff: Fault = {
  name: 'bridge-netfilter-off',
  row: 'N19',
  title: 'frames on the pod bridge of a node with a CoreDNS pod are not shown to iptables',
  placement: 'node',
  nodes: nodesWithDns,
  async inject(lab, at) {
    return { calls: (await lab.sh(at.node, `cat ${BRIDGE_CALLS}\necho 0 >${BRIDGE_CALLS}`)).trim() };
  },
  async prove(lab, at) {
    const pod = `default/client-${lab.node(at.node).index}`;
    await expectPackets(lab, {
      pass: [...podsOf(lab.topology, 'coredns').map(({ ip }) => dns(pod, ip)), ping(pod, podIp(lab, 'web', at.peer))],
      fail: [],
    });
    const query = `dig +short +tries=1 +timeout=1 @${CLUSTER.dnsService} kubernetes.default.svc.${CLUSTER.domain} A`;
    const answers = await lab.sh(pod, `for i in 1 2 3 4 5 6 7 8 9 10; do (${query} | grep -c '^1' || :) & done; wait`);
    const good = answers
      .trim()
      .split('\n')
      .filter((line) => line === '1').length;
    if (good === 0 || good === 10) throw new Error(`${good} of 10 queries to the Service were answered`);
  },
  async heal(lab, at, saved) {
    await lab.sh(at.node, `echo ${saved['calls']} >${BRIDGE_CALLS}`);
  },
  expects: (lab, at) =>
    failedBy('bridge-netfilter-off', 'L4', at, { status: 'degraded', nodes: [`netcheck-probe-${lab.node(at.node).index}`] }),
};

/** A DNS pod of earlier, before kube-proxy was given the other iptables. */
const GONE = '172.27.9.99:53';

export const kubeRulesStale: Fault = {
  name: 'kube-rules-stale',
  row: 'N21',
  title: "iptables-legacy still has kube-proxy's rules of before it wrote iptables-nft, and is asked first",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      // Of two at the same priority the kernel asks the one first that was loaded last (nf_hook_entries_grow).
      `iptables-legacy-restore <<'END'
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-TCOU7JCQXEZGVUNU - [0:0]
:KUBE-SEP-GONEGONEGONEGONE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -d ${CLUSTER.dnsService}/32 -p udp -m comment --comment "kube-system/kube-dns:dns cluster IP" -m udp --dport 53 -j KUBE-SVC-TCOU7JCQXEZGVUNU
-A KUBE-SVC-TCOU7JCQXEZGVUNU -m comment --comment "kube-system/kube-dns:dns -> ${GONE}" -j KUBE-SEP-GONEGONEGONEGONE
-A KUBE-SEP-GONEGONEGONEGONE -p udp -m comment --comment "kube-system/kube-dns:dns" -m udp -j DNAT --to-destination ${GONE}
COMMIT
END`,
    );
    return {};
  },
  prove: (lab, at) => proveOldDns(lab, at),
  async heal(lab, at) {
    await lab.sh(
      at.node,
      `iptables-legacy -t nat -F
iptables-legacy -t nat -X`,
    );
  },
  expects: (_lab, at) => failedBy('kube-rules-stale', 'L4', at, { mentions: [GONE] }),
};

export const kubeRulesTwice: Fault = {
  name: 'kube-rules-twice',
  row: 'N21',
  title: "iptables-legacy has kube-proxy's rules too, and they are right as yet: nothing is broken",
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, "iptables-nft-save -t nat | sed '/FLANNEL/d' | iptables-legacy-restore");
    return {};
  },
  async prove(lab, at) {
    const { exitCode } = await lab.exec(at.node, ['iptables-legacy', '-t', 'nat', '-S', 'KUBE-SERVICES']);
    if (exitCode !== 0) throw new Error(`iptables-legacy of ${at.node} has no chain KUBE-SERVICES, and must have it`);
    await expectPackets(lab, { pass: [dns(at.node, CLUSTER.dnsService), tcp(at.node, CLUSTER.apiService, 443)], fail: [] });
  },
  async heal(lab, at) {
    await lab.sh(
      at.node,
      `iptables-legacy -t nat -F
iptables-legacy -t nat -X`,
    );
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['kube-rules-twice'], nodes: [] }),
};
