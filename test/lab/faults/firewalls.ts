import type { Handle } from '../handle.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

/*
 * Firewalls that an administrator switched on without thinking of pods. The rule sets are those that firewalld 1.3 and
 * ufw 0.36 load, with the ports opened that Kubernetes' own documents ask for (10250/tcp, 8472/udp): what is left broken
 * is forwarding.
 */

/** A chain of firewalld's zone `public`, with the five that it jumps to; `allow` goes into one of these, `last` at the end. */
function zoneChains(chain: string, allow = '', last = ''): string {
  const parts = ['pre', 'log', 'deny', 'allow', 'post'].map((part) => `${chain}_${part}`);
  return `  chain ${chain} {
${parts.map((part) => `    jump ${part}\n`).join('')}${last}  }
${parts.map((part) => `  chain ${part} {\n${part.endsWith('_allow') ? allow : ''}  }\n`).join('')}`;
}

/** firewalld's table with one zone on eth0, the default one. */
function firewalldTable(): string {
  const input = `    tcp dport 22 ct state { new, untracked } accept
    tcp dport 10250 ct state { new, untracked } accept
    udp dport 8472 ct state { new, untracked } accept
`;
  const reject = '    reject with icmpx admin-prohibited\n';
  return `table inet firewalld {
  chain mangle_PREROUTING {
    type filter hook prerouting priority mangle + 10; policy accept;
    jump mangle_PREROUTING_ZONES
  }
  chain mangle_PREROUTING_ZONES {
    iifname "eth0" goto mangle_PRE_public
    goto mangle_PRE_public
  }
${zoneChains('mangle_PRE_public')}  chain nat_PREROUTING {
    type nat hook prerouting priority dstnat + 10; policy accept;
    jump nat_PREROUTING_ZONES
  }
  chain nat_PREROUTING_ZONES {
    iifname "eth0" goto nat_PRE_public
    goto nat_PRE_public
  }
${zoneChains('nat_PRE_public')}  chain nat_POSTROUTING {
    type nat hook postrouting priority srcnat + 10; policy accept;
    jump nat_POSTROUTING_ZONES
  }
  chain nat_POSTROUTING_ZONES {
    oifname "eth0" goto nat_POST_public
    goto nat_POST_public
  }
${zoneChains('nat_POST_public')}  chain filter_PREROUTING {
    type filter hook prerouting priority filter + 10; policy accept;
    icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_INPUT {
    type filter hook input priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    jump filter_INPUT_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority filter + 10; policy accept;
    ct state { established, related } accept
    ct status dnat accept
    iifname "lo" accept
    ct state invalid drop
    ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24, 2002:a00::/24, 2002:7f00::/24, 2002:a9fe::/32, 2002:ac10::/28, 2002:c0a8::/32, 2002:e000::/19 } reject with icmpv6 addr-unreachable
    jump filter_FORWARD_ZONES
    reject with icmpx admin-prohibited
  }
  chain filter_OUTPUT {
    type filter hook output priority filter + 10; policy accept;
    ct state { established, related } accept
    oifname "lo" accept
    ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24, 2002:a00::/24, 2002:7f00::/24, 2002:a9fe::/32, 2002:ac10::/28, 2002:c0a8::/32, 2002:e000::/19 } reject with icmpv6 addr-unreachable
  }
  chain filter_INPUT_ZONES {
    iifname "eth0" goto filter_IN_public
    goto filter_IN_public
  }
  chain filter_FORWARD_ZONES {
    iifname "eth0" goto filter_FWD_public
    goto filter_FWD_public
  }
${zoneChains('filter_IN_public', input, `    meta l4proto { icmp, ipv6-icmp } accept\n${reject}`)}${zoneChains('filter_FWD_public', '    oifname "eth0" accept\n', reject)}}
`;
}

/** ufw's chains in the filter table, and the jumps to them in the order of ufw's own. */
const UFW_HOOKS = ['input', 'forward', 'output'] as const;
const UFW_JUMPS = ['before-logging', 'before', 'after', 'after-logging', 'reject', 'track'] as const;
const UFW_CHAINS = [
  ...UFW_HOOKS.flatMap((hook) => [...UFW_JUMPS, 'skip-to-policy', 'user', 'user-logging'].map((part) => `ufw-${part}-${hook}`)),
  'ufw-logging-allow',
  'ufw-logging-deny',
  'ufw-not-local',
  'ufw-user-limit',
  'ufw-user-limit-accept',
];
const UFW_ICMP = ['destination-unreachable', 'time-exceeded', 'parameter-problem', 'echo-request'];

/** What ufw loads with `default deny incoming`, `default reject routed` and the three ports allowed, logging off. */
function ufwRules(): string[] {
  return [
    ...['input', 'forward', 'output'].map((hook) => `ufw-before-${hook} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`),
    'ufw-before-input -i lo -j ACCEPT',
    'ufw-before-output -o lo -j ACCEPT',
    'ufw-before-input -m conntrack --ctstate INVALID -j ufw-logging-deny',
    'ufw-before-input -m conntrack --ctstate INVALID -j DROP',
    ...['input', 'forward'].flatMap((hook) =>
      UFW_ICMP.map((type) => `ufw-before-${hook} -p icmp -m icmp --icmp-type ${type} -j ACCEPT`),
    ),
    'ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT',
    'ufw-before-input -j ufw-not-local',
    'ufw-before-input -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT',
    ...UFW_HOOKS.map((hook) => `ufw-before-${hook} -j ufw-user-${hook}`),
    ...['137', '138'].map((port) => `ufw-after-input -p udp -m udp --dport ${port} -j ufw-skip-to-policy-input`),
    'ufw-after-input -m addrtype --dst-type BROADCAST -j ufw-skip-to-policy-input',
    'ufw-logging-allow -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW ALLOW] "',
    'ufw-logging-deny -m conntrack --ctstate INVALID -m limit --limit 3/min --limit-burst 10 -j RETURN',
    'ufw-not-local -m addrtype --dst-type LOCAL -j RETURN',
    'ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN',
    'ufw-not-local -m addrtype --dst-type BROADCAST -j RETURN',
    'ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny',
    'ufw-not-local -j DROP',
    'ufw-reject-forward -j REJECT --reject-with icmp-port-unreachable',
    'ufw-skip-to-policy-input -j DROP',
    'ufw-skip-to-policy-forward -j REJECT --reject-with icmp-port-unreachable',
    'ufw-skip-to-policy-output -j ACCEPT',
    'ufw-track-output -p tcp -m conntrack --ctstate NEW -j ACCEPT',
    'ufw-track-output -p udp -m conntrack --ctstate NEW -j ACCEPT',
    'ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT',
    'ufw-user-input -p tcp -m tcp --dport 10250 -j ACCEPT',
    'ufw-user-input -p udp -m udp --dport 8472 -j ACCEPT',
    'ufw-user-limit -m limit --limit 3/min -j LOG --log-prefix "[UFW LIMIT BLOCK] "',
    'ufw-user-limit -j REJECT --reject-with icmp-port-unreachable',
    'ufw-user-limit-accept -j ACCEPT',
  ].map((rule) => `-A ${rule}`);
}

/**
 * ufw as it stands after a reboot: it comes up before kube-proxy and flanneld, so that its jumps stand before flannel's,
 * which are appended; kube-proxy puts its own first.
 */
function ufwInput(): string {
  const jumps = UFW_HOOKS.flatMap((hook) => UFW_JUMPS.map((part) => `-A ${hook.toUpperCase()} -j ufw-${part}-${hook}`));
  const flannel = '-m comment --comment "flanneld forward" -j FLANNEL-FWD';
  return [
    '*filter',
    ':INPUT DROP [0:0]',
    ':FORWARD DROP [0:0]',
    ...UFW_CHAINS.map((chain) => `:${chain} - [0:0]`),
    `-D FORWARD ${flannel}`,
    ...jumps,
    `-A FORWARD ${flannel}`,
    ...ufwRules(),
    'COMMIT',
    '',
  ].join('\n');
}

function ufwRemoval(): string {
  const jumps = UFW_HOOKS.flatMap((hook) => UFW_JUMPS.map((part) => `-D ${hook.toUpperCase()} -j ufw-${part}-${hook}`));
  return [
    '*filter',
    ':INPUT ACCEPT [0:0]',
    ':FORWARD ACCEPT [0:0]',
    ...jumps,
    ...UFW_CHAINS.map((chain) => `-F ${chain}`),
    ...UFW_CHAINS.map((chain) => `-X ${chain}`),
    'COMMIT',
    '',
  ].join('\n');
}

/** New flows that are forwarded die; what the node itself sends and receives passes. */
function proveNotForwarded(lab: Handle, at: At): Promise<void> {
  const pod = `default/client-${lab.node(at.node).index}`;
  return expectPackets(lab, {
    pass: [
      ping(at.node, lab.node(at.peer).ip),
      ping(at.peer, lab.node(at.node).bridgeIp),
      tcp(at.peer, lab.node(at.node).ip, 10250),
      tcp(at.node, podIp(lab, 'web', at.node), 8080),
    ],
    fail: [tcp(pod, podIp(lab, 'web', at.peer), 8080), tcp(at.peer, podIp(lab, 'web', at.node), 8080)],
  });
}

export const foreignFirewallFirewalld: Fault = {
  name: 'foreign-firewall-firewalld',
  row: 'N3',
  title: 'firewalld runs on a node and rejects what is forwarded',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `mkdir -p /run/units
cat >/run/units/firewalld.nft <<'END'
${firewalldTable()}END
cat >/run/units/firewalld <<'END'
load() { nft -f /run/units/firewalld.nft; }
unload() { nft delete table inet firewalld; }
END
systemctl start firewalld`,
    );
    return {};
  },
  prove: proveNotForwarded,
  async heal(lab, at) {
    await lab.sh(at.node, 'systemctl stop firewalld\nrm -r /run/units');
  },
  expects: (_lab, at) => failedBy('foreign-firewall', 'L4', at, { lost: 'both', lostOf: 'pods' }),
};

export const foreignFirewallUfw: Fault = {
  name: 'foreign-firewall-ufw',
  row: 'N3',
  title: 'ufw is on on a node and rejects what is forwarded',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `mkdir -p /etc/ufw
echo ENABLED=yes >/etc/ufw/ufw.conf
cat >/etc/default/ufw <<'END'
DEFAULT_INPUT_POLICY=DROP
DEFAULT_OUTPUT_POLICY=ACCEPT
DEFAULT_FORWARD_POLICY=REJECT
END
cat >/etc/ufw/before.rules <<'END'
${['*filter', ...UFW_CHAINS.map((chain) => `:${chain} - [0:0]`), ...ufwRules(), 'COMMIT', ''].join('\n')}END
iptables-nft-restore --noflush <<'END'
${ufwInput()}END`,
    );
    return {};
  },
  prove: proveNotForwarded,
  async heal(lab, at) {
    // Disabled, it has taken some of its chains away.
    await lab.sh(
      at.node,
      `ufw --force enable >/dev/null
iptables-nft-restore --noflush <<'END'
${ufwRemoval()}END
rm -r /etc/ufw /etc/default/ufw`,
    );
  },
  expects: (_lab, at) => failedBy('foreign-firewall', 'L4', at, { lost: 'both', lostOf: 'pods' }),
};
