import type { Reading } from './check.ts';

/*
 * Readings that several checks, the plan and the dataplanes share. Two checks that ask for the same reading get the same
 * evidence: it is collected once per node and run.
 */

/** All devices of the node with their addresses, counters and the details of their kind (iproute2 `ip -json address`). */
export const ADDRESSES = {
  in: 'node',
  when: 'start',
  argv: ['ip', '-j', '-d', '-s', 'address', 'show'],
} as const satisfies Reading;

/** Packets received and sent by every device, before the sweep and after it. */
export const DEVICE_COUNTERS = { in: 'node', when: 'both', files: ['/proc/net/dev'] } as const satisfies Reading;

/** Every route of every table, local ones too. */
export const ROUTES = { in: 'node', argv: ['ip', '-j', 'route', 'show', 'table', 'all'] } as const satisfies Reading;

/** The rules that choose a routing table. */
export const POLICY_RULES = { in: 'node', argv: ['ip', '-j', '-4', 'rule', 'show'] } as const satisfies Reading;

/** Neighbour entries of every device, before the sweep, which makes and mends some, and after it. */
export const NEIGHBOURS = { in: 'node', when: 'both', argv: ['ip', '-j', '-s', 'neighbour', 'show'] } as const satisfies Reading;

/** Forwarding database entries of every bridge port and VXLAN device. */
export const FDB = { in: 'node', argv: ['bridge', '-j', 'fdb', 'show'] } as const satisfies Reading;

/** Rules of iptables-legacy, with packet counters. */
export const RULES_LEGACY = { in: 'node', when: 'end', argv: ['iptables-legacy-save', '-c'] } as const satisfies Reading;

/** Rules of iptables-nft, with packet counters. */
export const RULES_IPTABLES_NFT = { in: 'node', when: 'end', argv: ['iptables-nft-save', '-c'] } as const satisfies Reading;

/** The whole nftables ruleset, iptables-nft's tables among it, with counters. */
export const RULES_NFT = { in: 'node', when: 'end', argv: ['nft', '-j', 'list', 'ruleset'] } as const satisfies Reading;

/** The chains that hang on devices, with the names of these, which the JSON of nft before 1.0.7 leaves out. */
export const NFT_NETDEV_CHAINS = {
  in: 'node',
  when: 'end',
  argv: ['nft', 'list', 'chains', 'netdev'],
} as const satisfies Reading;

/** Whether frames that stay on a bridge are shown to iptables (br_netfilter). */
export const BRIDGE_CALLS_IPTABLES = {
  in: 'node',
  files: ['/proc/sys/net/bridge/bridge-nf-call-iptables'],
} as const satisfies Reading;

/** The name of every process on the host, cut at 15 characters as the kernel keeps it. */
export const PROCESS_NAMES = { in: 'node', argv: ['ps', '-e', '-o', 'comm='] } as const satisfies Reading;

/** The limits of the neighbour table and its counters: one table for all network namespaces of the machine. */
export const NEIGHBOUR_TABLE = {
  in: 'node',
  when: 'both',
  argv: ['ip', '-j', '-s', 'ntable', 'show', 'name', 'arp_cache'],
} as const satisfies Reading;

/** The node's own neighbour entries, as the kernel lists them. */
export const NEIGHBOUR_COUNT = { in: 'node', when: 'start', files: ['/proc/net/arp'] } as const satisfies Reading;

/** Entries in the connection-tracking table, and how many it holds at most. */
export const CONNTRACK_FREE = {
  in: 'node',
  when: 'start',
  files: ['/proc/sys/net/netfilter/nf_conntrack_count', '/proc/sys/net/netfilter/nf_conntrack_max'],
} as const satisfies Reading;

/** What the node's connection tracking has done, before the sweep and after it. */
export const CONNTRACK_COUNTERS = { in: 'node', when: 'both', files: ['/proc/net/stat/nf_conntrack'] } as const satisfies Reading;

/** Where connection tracking shows itself; the tool that lists its entries would load it. */
const CONNTRACK = '/proc/sys/net/netfilter/nf_conntrack_count';

/**
 * Connections of which an address is translated, counted by protocol, the address and port that they were sent to, and
 * the address and port that they went to. Where the source is translated as well, the address that it became and its port
 * but for the last two digits follow; only there the port stands behind the address, else before.
 */
export const TRANSLATED_CONNECTIONS = {
  in: 'node',
  when: 'end',
  argv: ['conntrack', '-L', '-j'],
  tally:
    '^(?<proto>\\w+) .*? src=(\\S+) dst=(?<to>\\S+) sport=\\d+ dport=(?<port>\\d+) .*?src=(?<target>\\S+) dst=(?:\\2 sport=(?<kept>\\d+) |(?<source>\\S+) sport=(?<changed>\\d+) dport=(?<hundred>\\d*)\\d\\d )',
  needs: CONNTRACK,
} as const satisfies Reading;

/** Counters of the node's own TCP, beside others, before the sweep and after it. */
export const TCP_COUNTERS = { in: 'node', when: 'both', files: ['/proc/net/netstat'] } as const satisfies Reading;

/** TCP sockets of the node that listen: how many connections wait to be accepted, and how many may. */
export const TCP_LISTENERS = { in: 'node', when: 'end', argv: ['ss', '-H', '-ltn'] } as const satisfies Reading;

/** How many connections a listening socket lets wait at most, whatever its program asks for. */
export const SOMAXCONN = { in: 'node', files: ['/proc/sys/net/core/somaxconn'] } as const satisfies Reading;

/** A setting that Linux 4.12 took away: with it, clients behind one address are told apart by nothing but their clocks. */
export const TW_RECYCLE = { in: 'node', files: ['/proc/sys/net/ipv4/tcp_tw_recycle'] } as const satisfies Reading;

/** The ports that connections of the node get, and those among them that they never do. */
export const LOCAL_PORTS = {
  in: 'node',
  files: ['/proc/sys/net/ipv4/ip_local_port_range', '/proc/sys/net/ipv4/ip_local_reserved_ports'],
} as const satisfies Reading;

/** What the processors of the node did, and its clock: when it was started, and how long ago that is. */
export const CPU_TIMES = { in: 'node', when: 'both', files: ['/proc/stat', '/proc/uptime'] } as const satisfies Reading;

/** What each processor took from its queue of packets that came in, dropped from it, and had no time for. */
export const PACKET_QUEUES = { in: 'node', when: 'both', files: ['/proc/net/softnet_stat'] } as const satisfies Reading;

/** The node's memory. */
export const MEMORY = { in: 'node', when: 'start', files: ['/proc/meminfo'] } as const satisfies Reading;

/**
 * What the kernel's log says of tables that ran over, with the time since it started, which its records count from. The
 * log is the whole machine's. Source: Documentation/ABI/testing/dev-kmsg; net/netfilter/nf_conntrack_core.c, net/core/neighbour.c.
 */
export const KERNEL_LOG = {
  in: 'node',
  when: 'end',
  files: ['/proc/uptime', '/dev/kmsg'],
  lines: '^\\d+\\.\\d+ \\d+\\.\\d+$|conntrack: table full|[Nn]eighbou?r table overflow',
} as const satisfies Reading;

/** Forwarding and reverse path filter of every device (iproute2 `ip netconf`). */
export const NETCONF = { in: 'node', argv: ['ip', '-j', '-4', 'netconf', 'show'] } as const satisfies Reading;

/** Every file that `sysctl --system` loads, from the host's own file system. */
export const SYSCTL_FILES = {
  in: 'node',
  files: [
    '/etc/sysctl.d/*.conf',
    '/run/sysctl.d/*.conf',
    '/usr/local/lib/sysctl.d/*.conf',
    '/usr/lib/sysctl.d/*.conf',
    '/lib/sysctl.d/*.conf',
    '/etc/sysctl.conf',
  ],
} as const satisfies Reading;

/** NetworkManager's configuration, from the host's own file system. Source: NetworkManager.conf(5). */
export const NETWORK_MANAGER_FILES = {
  in: 'node',
  files: [
    '/etc/NetworkManager/NetworkManager.conf',
    '/etc/NetworkManager/conf.d/*.conf',
    '/run/NetworkManager/conf.d/*.conf',
    '/usr/lib/NetworkManager/conf.d/*.conf',
  ],
} as const satisfies Reading;

/** The configuration of systemd-networkd and its networks, likewise. Source: networkd.conf(5), systemd.network(5). */
export const NETWORKD_FILES = {
  in: 'node',
  files: [
    '/etc/systemd/networkd.conf',
    '/etc/systemd/networkd.conf.d/*.conf',
    '/run/systemd/networkd.conf.d/*.conf',
    '/usr/lib/systemd/networkd.conf.d/*.conf',
    '/etc/systemd/network/*.network',
    '/run/systemd/network/*.network',
    '/usr/lib/systemd/network/*.network',
  ],
} as const satisfies Reading;

/** UDP sockets with the processes that hold them. */
export const UDP_SOCKETS = { in: 'node', argv: ['ss', '-H', '-lunp'] } as const satisfies Reading;

/** Who else answers ARP for the node's own address, on its uplink. Read beside the sweep, since it takes a while. */
export const OWN_ADDRESS = { in: 'node', asks: 'own-address' } as const satisfies Reading;

/** Connections that pods did not accept, up to the beginning of the run; `PODS` has them as they are at its end. */
export const POD_COUNTERS = { in: 'pods', when: 'start', what: 'counters' } as const satisfies Reading;

/** Processes, listening sockets, addresses, routes, devices and resolvers of all pods, when the sweep is over. */
export const PODS = { in: 'pods', when: 'end', what: 'state' } as const satisfies Reading;

/** What the driver of the node's uplink counts (`ethtool -S`), when the sweep begins and when it is over. */
export const UPLINK_COUNTERS = { in: 'node', when: 'both', asks: 'uplink-counters' } as const satisfies Reading;

/** What is run, read or asked, in the words of a command line. */
export function readingText(reading: Reading): string {
  if ('argv' in reading) return reading.argv.join(' ');
  if ('files' in reading) return `cat ${reading.files.join(' ')}`;
  if ('what' in reading) return `${reading.what} of every pod's network namespace`;
  return reading.asks === 'own-address' ? "arping -D of the node's own address" : "ethtool -S of the node's uplink";
}
/** Counters of IP, ICMP, TCP and UDP of the node, before the sweep and after it. */
export const PROTOCOL_COUNTERS = { in: 'node', when: 'both', files: ['/proc/net/snmp'] } as const satisfies Reading;

/** What flannel's VXLAN device leaves to the network card: checksums, segmentation. */
export const VXLAN_OFFLOADS = { in: 'node', argv: ['ethtool', '-k', 'flannel.1'] } as const satisfies Reading;

/** What flannel tells the CNI plugin about this node; written when flannel has its lease. */
export const FLANNEL_SUBNET_ENV = { in: 'node', files: ['/run/flannel/subnet.env'] } as const satisfies Reading;

/** The node's own resolvers, and those behind systemd-resolved's stub. */
export const RESOLV_CONF = {
  in: 'node',
  when: 'start',
  files: ['/etc/resolv.conf', '/run/systemd/resolve/resolv.conf'],
} as const satisfies Reading;

/** What evidence of a reading is filed under. */
export function readingKey(reading: Reading): string {
  const reduced = 'argv' in reading ? reading.tally : 'files' in reading ? reading.lines : undefined;
  return `${reading.in}: ${readingText(reading)}${reduced === undefined ? '' : ` | ${reduced}`}`;
}
