import type { Handle } from '../handle.ts';
import { CLUSTER, RACK } from '../topology.ts';
import { type At, type Expectation, type Fault, failedBy } from './fault.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

/* Faults of what is outside the cluster, and of the way there. The DNS servers outside are two, on the gateway's host. */

const [FIRST, SECOND] = [RACK.gateway.ip, RACK.resolver.ip];
const OUTSIDE = 'www.example.com';

/** One server of two: lookups of outside names still work, with lost redundancy. */
function degradedBy(code: string, mentions: readonly string[]): Expectation {
  return { status: 'degraded', layer: 'DNS', codes: [{ code, node: SECOND }], nodes: [SECOND], mentions };
}

export const upstreamDnsSilent: Fault = {
  name: 'upstream-dns-silent',
  row: 'D4',
  title: 'one of the two DNS servers outside drops every question',
  placement: 'cluster',
  async inject(lab) {
    await lab.sh(
      'gw',
      `nft add table ip silent
nft add chain ip silent input '{ type filter hook input priority 0; }'
nft add rule ip silent input ip daddr ${SECOND} drop`,
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [dns(at.node, FIRST, OUTSIDE)],
      fail: [dns(at.node, SECOND, OUTSIDE), dns(at.peer, SECOND, OUTSIDE)],
    }),
  async heal(lab) {
    await lab.sh('gw', 'nft delete table ip silent');
  },
  expects: () => degradedBy('upstream-dns-silent', ['/etc/resolv.conf', `${FIRST} answers`]),
};

/** Ends the second server's process, on the gateway's host, and starts one with another configuration. */
function restartSecond(configuration: string): string {
  return `for p in $(ip netns pids gw); do
  ! tr '\\0' ' ' </proc/$p/cmdline | grep -q resolver-2 || { kill $p; while kill -0 $p 2>/dev/null; do :; done; }
done
ip netns exec gw unbound -d -c ${configuration} </dev/null >/dev/null 2>&1 &
until ip netns exec gw dig +tries=1 +timeout=1 @${SECOND} . NS | grep -q status; do :; done`;
}

export const upstreamDnsServfail: Fault = {
  name: 'upstream-dns-servfail',
  row: 'D4',
  title: 'one of the two DNS servers outside answers SERVFAIL: it does not reach the servers that it asks',
  placement: 'cluster',
  async inject(lab) {
    const configuration = '/tmp/resolver-2-servfail.conf';
    await lab.sh(
      'rack',
      `{ sed '/local-zone\\|local-data/d' /run/lab/build/resolver-2.conf
printf 'forward-zone:\\n  name: "."\\n  forward-addr: 127.0.0.9@5353\\n'; } >${configuration}
${restartSecond(configuration)}`,
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [dns(at.node, FIRST, OUTSIDE), ping(at.node, SECOND)],
      fail: [dns(at.node, SECOND, OUTSIDE), dns(at.peer, SECOND, OUTSIDE)],
    }),
  async heal(lab) {
    await lab.sh('rack', restartSecond('/run/lab/build/resolver-2.conf'));
    await lab.sh('rack', 'rm -f /tmp/resolver-2-servfail.conf');
  },
  expects: () => degradedBy('upstream-dns-servfail', ['SERVFAIL', `${FIRST} answers`]),
};

export const nodeResolversDiffer: Fault = {
  name: 'node-resolvers-differ',
  row: 'D4',
  title: 'a node asks only one of the two DNS servers that all others ask',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(at.node, `echo 'nameserver ${SECOND}' >/etc/resolv.conf`);
    return {};
  },
  async prove(lab, at) {
    const text = await lab.sh(at.node, 'cat /etc/resolv.conf');
    if (text !== `nameserver ${SECOND}\n`) throw new Error(`${at.node} has ${text}`);
  },
  async heal(lab, at) {
    await lab.sh(at.node, `printf 'nameserver ${FIRST}\\nnameserver ${SECOND}\\n' >/etc/resolv.conf`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['node-resolvers-differ'], nodes: [] }),
};

const FLANNEL = 'FLANNEL-POSTRTG';

/** flannel's rule that translates what pods send out of the cluster, as `iptables -S` prints it. */
async function masqueradeRule(lab: Handle, node: string): Promise<{ readonly rule: string; readonly index: number }> {
  const rules = (await lab.sh(node, `iptables-nft -t nat -S ${FLANNEL}`)).trim().split('\n').slice(1);
  const index = rules.findIndex((rule) => rule.includes(`-s ${lab.topology.clusterCIDR}`) && rule.includes('MASQUERADE'));
  const rule = rules[index];
  if (rule === undefined) throw new Error(`${node} has no rule that masquerades pods`);
  return { rule: rule.replace(`-A ${FLANNEL}`, `-I ${FLANNEL} ${index + 1}`), index: index + 1 };
}

/** The scope names the pod that asked for the node's pods: netcheck's own. */
function podsKept(lab: Handle, at: At, mentions: readonly string[]): Expectation {
  return failedBy('pod-source-not-translated', 'L3', at, { nodes: [`netcheck-probe-${lab.node(at.node).index}`], mentions });
}

/** The node itself is answered from outside, and its pods are not. */
const onlyPodsFail: Fault['prove'] = (lab, at) =>
  expectPackets(lab, {
    pass: [
      dns(at.node, FIRST, OUTSIDE),
      tcp(at.node, RACK.controlPlane.ip, CLUSTER.apiPort),
      tcp(`default/client-${lab.node(at.peer).index}`, RACK.controlPlane.ip, CLUSTER.apiPort),
      tcp(`default/client-${lab.node(at.node).index}`, podIp(lab, 'web', at.peer), 8080),
    ],
    fail: [
      dns(`default/client-${lab.node(at.node).index}`, FIRST, OUTSIDE),
      tcp(`default/client-${lab.node(at.node).index}`, RACK.controlPlane.ip, CLUSTER.apiPort),
    ],
  });

export const masqueradeRuleMissing: Fault = {
  name: 'masquerade-rule-missing',
  row: 'E1',
  title: 'the rule that translates what pods of a node send out of the cluster is gone',
  placement: 'node',
  async inject(lab, at) {
    const { rule, index } = await masqueradeRule(lab, at.node);
    await lab.sh(at.node, `iptables-nft -t nat -D ${FLANNEL} ${index}`);
    return { rule };
  },
  prove: onlyPodsFail,
  async heal(lab, at, saved) {
    await lab.sh(at.node, `iptables-nft -t nat ${saved['rule']}`);
  },
  expects: (lab, at) => podsKept(lab, at, ['no masquerade rule applies', `${at.node} itself is answered`]),
};

export const masqueradeExcluded: Fault = {
  name: 'masquerade-excluded',
  row: 'E1',
  title: "ip-masq-agent translates on a node, and leaves 10.0.0.0/8 out, where the network does not know the pods' addresses",
  placement: 'node',
  async inject(lab, at) {
    const { rule, index } = await masqueradeRule(lab, at.node);
    // As ip-masq-agent writes them: cmd/ip-masq-agent/ip-masq-agent.go.
    await lab.sh(
      at.node,
      `iptables-nft -t nat -D ${FLANNEL} ${index}
iptables-nft-restore --noflush <<'END'
*nat
:IP-MASQ-AGENT - [0:0]
-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT
-A IP-MASQ-AGENT -d 169.254.0.0/16 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN
-A IP-MASQ-AGENT -d 10.0.0.0/8 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN
-A IP-MASQ-AGENT -d 172.16.0.0/12 -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -j RETURN
-A IP-MASQ-AGENT -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE --random-fully
COMMIT
END`,
    );
    return { rule };
  },
  prove: onlyPodsFail,
  async heal(lab, at, saved) {
    await lab.sh(
      at.node,
      `iptables-nft -t nat -D POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT
iptables-nft -t nat -F IP-MASQ-AGENT
iptables-nft -t nat -X IP-MASQ-AGENT
iptables-nft -t nat ${saved['rule']}`,
    );
  },
  expects: (lab, at) => podsKept(lab, at, ['IP-MASQ-AGENT leaves', 'nonMasqueradeCIDRs']),
};

/** Drops, where the gateway is plugged in, what it is sent and what it sends. */
function cut(
  name: string,
  match: string,
): { readonly inject: (lab: Handle) => Promise<unknown>; readonly heal: (lab: Handle) => Promise<unknown> } {
  return {
    inject: (lab) =>
      lab.sh(
        'rack',
        `nft add table netdev ${name}
nft add chain netdev ${name} gw '{ type filter hook ingress device "gw" priority 0; }'
nft add rule netdev ${name} gw ${match} counter drop`,
      ),
    heal: (lab) => lab.sh('rack', `nft delete table netdev ${name}`),
  };
}

export const outsideUnreachable: Fault = {
  name: 'outside-unreachable',
  row: 'E2',
  title: 'nothing that the gateway sends comes back to the nodes: what is outside the cluster is out of reach for all',
  placement: 'cluster',
  async inject(lab) {
    await cut('outside-all', 'ip daddr != 10.28.0.2').inject(lab);
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip)],
      fail: [dns(at.node, FIRST, OUTSIDE), dns(at.peer, SECOND, OUTSIDE), ping(at.node, FIRST)],
    }),
  async heal(lab) {
    await cut('outside-all', '').heal(lab);
  },
  expects: () => ({
    status: 'failed',
    layer: 'L3',
    codes: [{ code: 'outside-unreachable' }],
    nodes: [FIRST, SECOND],
    mentions: ['translation is not the fault'],
  }),
};

export const nodeOutsideUnreachable: Fault = {
  name: 'node-outside-unreachable',
  row: 'E2',
  title: 'nothing that the gateway sends comes back to one node',
  placement: 'node',
  async inject(lab, at) {
    await cut(`outside-${at.node}`, `ip daddr ${lab.node(at.node).ip}`).inject(lab);
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [ping(at.node, lab.node(at.peer).ip), dns(at.peer, FIRST, OUTSIDE)],
      fail: [dns(at.node, FIRST, OUTSIDE), dns(at.node, SECOND, OUTSIDE), ping(at.node, FIRST)],
    }),
  async heal(lab, at) {
    await cut(`outside-${at.node}`, '').heal(lab);
  },
  expects: (_lab, at) =>
    failedBy('outside-unreachable', 'L3', at, { mentions: ['translation is not the fault', `${at.node} gets no answer`] }),
};
