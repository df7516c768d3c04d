import type { Handle } from '../handle.ts';
import { CLUSTER, RACK } from '../topology.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { dns, expectPackets, ping, tcp } from './packets.ts';
import { podIp } from './where.ts';

const SETTINGS = '/proc/sys/net/netfilter';

/** The way by which the API server reaches the agent: a connection that cannot be tracked would end the diagnosis. */
const KUBELET = `-s ${RACK.controlPlane.ip} -p tcp --dport ${CLUSTER.kubeletPort} -j CT --notrack`;
const KUBELET_BACK = `-d ${RACK.controlPlane.ip} -p tcp --sport ${CLUSTER.kubeletPort} -j CT --notrack`;

/**
 * As many established connections as the kernel lets a table have: nothing can be evicted to make room. Short-lived entries
 * go first, and once more is put in where one ended meanwhile; a list ends at the first entry that the kernel refuses.
 */
const FILL = `max=$(cat ${SETTINGS}/nf_conntrack_max)
conntrack -F 2>/dev/null
for port in 443 444 445 446; do
  awk -v max="$max" -v port="$port" 'BEGIN { for (i = 0; i <= max; i++)
    printf "-A -s 198.18.%d.%d -d 198.51.100.9 -p tcp --sport %d --dport %d --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 900\\n",
      int(i / 256) % 256, i % 256, 20000 + int(i / 65536), port }' >/run/entries
  conntrack -R /run/entries >/dev/null 2>&1 || :
  count=$(cat ${SETTINGS}/nf_conntrack_count)
  [ "$count" -lt "$max" ] || break
done
rm /run/entries
[ "$count" -ge "$max" ] || { echo "only $count of $max entries" >&2; exit 1; }`;

/** What the kernel says of it goes into the machine's own log; a node of the lab has another one. */
const LOG = (secondsAgo: number): string =>
  `awk '{ printf "4,4711,%.0f,-;nf_conntrack: nf_conntrack: table full in netns 4026533712, dropping packet\\n", ($1 - ${secondsAgo}) * 1000000 }' /proc/uptime >>/dev/kmsg`;

export const conntrackTableFull: Fault = {
  name: 'conntrack-table-full',
  row: 'N6',
  title: 'the connection-tracking table of a node is full of established connections',
  placement: 'node',
  async inject(lab, at) {
    await lab.sh(
      at.node,
      `iptables-legacy -t raw -I PREROUTING ${KUBELET}
iptables-legacy -t raw -I OUTPUT ${KUBELET_BACK}
${FILL}
${LOG(2)}`,
    );
    return {};
  },
  prove: (lab, at) =>
    expectPackets(lab, {
      pass: [tcp('cp', lab.node(at.node).ip, CLUSTER.kubeletPort), ping(at.peer, RACK.gateway.ip)],
      fail: [
        ping(at.node, lab.node(at.peer).ip),
        ping(at.peer, lab.node(at.node).ip),
        tcp(at.peer, podIp(lab, 'web', at.node), 8080),
      ],
    }),
  async heal(lab, at) {
    await lab.sh(
      at.node,
      `conntrack -F 2>/dev/null
iptables-legacy -t raw -D PREROUTING ${KUBELET}
iptables-legacy -t raw -D OUTPUT ${KUBELET_BACK}
: >/dev/kmsg`,
    );
  },
  expects: (_lab, at) => failedBy('conntrack-table-full', 'L4', at, { risks: ['conntrack-was-full'] }),
};

/** Puts other numbers over those that the kernel shows, in the node only: the table is the whole machine's to size. */
async function pretend(lab: Handle, at: At, file: string, text: string): Promise<void> {
  const name = file.split('/').at(-1);
  await lab.sh(at.node, `printf '${text}\\n' >/run/${name}\nmount --bind /run/${name} ${file}`);
}

async function unpretend(lab: Handle, at: At, file: string): Promise<void> {
  await lab.sh(at.node, `umount ${file}\nrm /run/${file.split('/').at(-1)}`);
}

export const conntrackTableNearlyFull: Fault = {
  name: 'conntrack-table-nearly-full',
  row: 'N6',
  title: 'the connection-tracking table of a node is said to be nearly full, and to have been full some minutes ago',
  placement: 'node',
  async inject(lab, at) {
    await pretend(lab, at, `${SETTINGS}/nf_conntrack_max`, '131072');
    await pretend(lab, at, `${SETTINGS}/nf_conntrack_count`, '110000');
    await lab.sh(at.node, LOG(600));
    return {};
  },
  async prove(lab, at) {
    const said = await lab.sh(at.node, `cat ${SETTINGS}/nf_conntrack_count ${SETTINGS}/nf_conntrack_max /dev/kmsg`);
    if (!/^110000\n131072\n4,.*table full/.test(said)) throw new Error(`${at.node} must say 110000 of 131072, and says: ${said}`);
  },
  async heal(lab, at) {
    await unpretend(lab, at, `${SETTINGS}/nf_conntrack_max`);
    await unpretend(lab, at, `${SETTINGS}/nf_conntrack_count`);
    await lab.sh(at.node, ': >/dev/kmsg');
  },
  expects: () => ({
    status: 'healthy',
    layer: null,
    codes: [],
    risks: ['conntrack-table-nearly-full', 'conntrack-was-full'],
    nodes: [],
  }),
};

const POOL = '40000-40003';

/** Translates what the pods of a node send to the API server's own address to four ports only. */
const poolRule = (lab: Handle, at: At): string =>
  `-s ${lab.node(at.node).podCIDR} -d ${RACK.controlPlane.ip}/32 -p tcp --dport ${CLUSTER.apiPort} -j MASQUERADE --to-ports ${POOL}`;

export const natPortsExhausted: Fault = {
  name: 'nat-ports-exhausted',
  row: 'N8',
  title: 'a node may translate connections of pods to the API server to four ports, and all are taken',
  placement: 'node',
  async inject(lab, at) {
    const { network } = lab.pod(`default/client-${lab.node(at.node).index}`);
    const pids = await lab.sh(
      at.node,
      `iptables-nft -t nat -I POSTROUTING ${poolRule(lab, at)}
for i in 1 2 3 4; do
  ip netns exec ${network?.netns} socat -u TCP:${RACK.controlPlane.ip}:${CLUSTER.apiPort} OPEN:/dev/null </dev/null >/dev/null 2>&1 &
  echo $!
done
until [ "$(conntrack -L -n 2>/dev/null | grep -c 'dport=4000[0-3] ')" = 4 ]; do :; done`,
    );
    return { pids: pids.trim().replaceAll('\n', ' ') };
  },
  prove: (lab, at) => {
    const pod = `default/client-${lab.node(at.node).index}`;
    return expectPackets(lab, {
      pass: [
        tcp(at.node, RACK.controlPlane.ip, CLUSTER.apiPort),
        tcp(`default/client-${lab.node(at.peer).index}`, CLUSTER.apiService, 443),
        tcp(pod, podIp(lab, 'web', at.peer), 8080),
        ping(pod, RACK.controlPlane.ip),
      ],
      fail: [tcp(pod, RACK.controlPlane.ip, CLUSTER.apiPort), tcp(pod, CLUSTER.apiService, 443)],
    });
  },
  async heal(lab, at, saved) {
    await lab.sh(at.node, `iptables-nft -t nat -D POSTROUTING ${poolRule(lab, at)}\nkill ${saved['pids']}`);
  },
  expects: (lab, at) =>
    failedBy('nat-ports-exhausted', 'L4', at, {
      risks: ['conntrack-insert-failed'],
      nodes: [`netcheck-probe-${lab.node(at.node).index}`],
    }),
};

/** A destination outside the cluster, of which there is nothing but entries in a table. */
const OUTSIDE = '198.51.100.9';

export const natPortsNearlyExhausted: Fault = {
  name: 'nat-ports-nearly-exhausted',
  row: 'N8',
  title: 'pods of a node have 60,000 translated connections to one destination',
  placement: 'node',
  async inject(lab, at) {
    const { ip } = lab.node(at.node);
    await lab.sh(
      at.node,
      `awk 'BEGIN { for (i = 0; i < 60000; i++)
  printf "-A -s ${podIp(lab, 'client', at.node)} -d ${OUTSIDE} -p tcp --sport %d --dport 443 --src-nat ${ip}:%d --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 900\\n",
    2000 + i, 2000 + i }' >/run/entries
conntrack -R /run/entries >/dev/null
rm /run/entries`,
    );
    return {};
  },
  async prove(lab, at) {
    const { stdout } = await lab.exec(at.node, ['sh', '-c', `conntrack -L -n -d ${OUTSIDE} 2>/dev/null | wc -l`]);
    if (stdout.trim() !== '60000')
      throw new Error(`${at.node} has ${stdout.trim()} translated connections to ${OUTSIDE}, and must have 60000`);
  },
  async heal(lab, at) {
    await lab.sh(at.node, `conntrack -D -d ${OUTSIDE} >/dev/null 2>&1`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['nat-ports-nearly-exhausted'], nodes: [] }),
};

/** A client that keeps its source port, and the address of a CoreDNS pod that is not there any more. */
const CLIENT_PORT = 5353;
const goneDns = (lab: Handle, at: At): string => lab.node(at.node).bridgeIp.replace(/1$/, '199');
const UDP_TIMEOUT = `${SETTINGS}/nf_conntrack_udp_timeout`;

export const staleUdpConntrack: Fault = {
  name: 'stale-udp-conntrack',
  row: 'N20',
  title: 'an entry of a node leads DNS queries of one client port to a CoreDNS pod that is gone',
  placement: 'node',
  async inject(lab, at) {
    const client = podIp(lab, 'client', at.node);
    const timeout = await lab.sh(
      at.node,
      `cat ${UDP_TIMEOUT}
echo 900 >${UDP_TIMEOUT}
conntrack -D -p udp -s ${client} --sport ${CLIENT_PORT} >/dev/null 2>&1 || :
conntrack -I -p udp -s ${client} -d ${CLUSTER.dnsService} --sport ${CLIENT_PORT} --dport 53 --dst-nat ${goneDns(lab, at)}:53 -t 900 >/dev/null 2>&1`,
    );
    return { timeout: timeout.trim() };
  },
  async prove(lab, at) {
    const pod = `default/client-${lab.node(at.node).index}`;
    const ask = ['dig', '+short', '+tries=1', '+timeout=1', `@${CLUSTER.dnsService}`, `kubernetes.default.svc.${CLUSTER.domain}`];
    await expectPackets(lab, { pass: [dns(pod, CLUSTER.dnsService)], fail: [] });
    const { exitCode } = await lab.exec(pod, [...ask, '-b', `0.0.0.0#${CLIENT_PORT}`]);
    if (exitCode === 0) throw new Error(`${pod} gets answers at port ${CLIENT_PORT}, and must not`);
  },
  async heal(lab, at, saved) {
    await lab.sh(
      at.node,
      `echo ${saved['timeout']} >${UDP_TIMEOUT}\nconntrack -D -p udp --orig-port-src ${CLIENT_PORT} >/dev/null 2>&1 || :`,
    );
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['stale-udp-conntrack'], nodes: [] }),
};

const NAME = `kubernetes.default.svc.${CLUSTER.domain}`;

/** How many entries a node's table did not take since it was made. */
async function failedInserts(lab: Handle, node: string): Promise<number> {
  const said = await lab.sh(node, 'conntrack -S');
  return [...said.matchAll(/insert_failed=(\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Both packets of a socket are the first of a connection for the kernel, each with an entry of its own, as when they race. */
const RACE = 'dns-race';

export const dnsPairRace: Fault = {
  name: 'dns-pair-race',
  row: 'D6',
  title: 'two DNS queries from one socket of a pod get entries that clash, and the kernel drops the second',
  placement: 'node',
  async inject(lab, at) {
    const { podCIDR } = lab.node(at.node);
    await lab.sh(
      at.node,
      `nft -f - <<'END'
table ip ${RACE} {
  set seen { type ipv4_addr . inet_service; flags dynamic; size 65535; timeout 3s; }
  chain first {
    type filter hook prerouting priority -301; policy accept;
    ip saddr ${podCIDR} udp dport 53 ip saddr . udp sport @seen ct original zone set 7
    ip saddr ${podCIDR} udp dport 53 add @seen { ip saddr . udp sport }
  }
  chain last {
    type nat hook postrouting priority 90; policy accept;
    ct original zone 7 udp dport 53 snat ip to ip saddr : udp sport
  }
}
END`,
    );
    return {};
  },
  async prove(lab, at) {
    const pod = `default/client-${lab.node(at.node).index}`;
    const server = `@${CLUSTER.dnsService}`;
    await expectPackets(lab, { pass: [dns(pod, CLUSTER.dnsService)], fail: [] });
    const before = await failedInserts(lab, at.node);
    // The same port twice is the same socket, as far as the node can see.
    for (let port = 20_000; port < 20_010; port += 1) {
      const ask = ['dig', '+short', '+tries=1', '+timeout=1', '-b', `0.0.0.0#${port}`, server, NAME];
      await lab.exec(pod, [...ask, 'A']);
      const { exitCode } = await lab.exec(pod, [...ask, 'AAAA']);
      if (exitCode !== 0 && (await failedInserts(lab, at.node)) > before) return;
    }
    throw new Error(`${at.node} must take no entry for the second query of a socket, now and then, and always does`);
  },
  async heal(lab, at) {
    await lab.sh(at.node, `nft delete table ip ${RACE}\nconntrack -D -p udp --orig-port-dst 53 >/dev/null 2>&1 || :`);
  },
  expects: (lab, at) => ({
    status: 'degraded',
    layer: 'L4',
    codes: [{ code: 'conntrack-insert-failed', node: at.node }],
    nodes: [`netcheck-probe-${lab.node(at.node).index}`],
  }),
};
