import { createHash } from 'node:crypto';
import { CLUSTER, type LabNode, podsOf, RACK, type Topology } from './topology.ts';

/*
 * The packet filter and NAT rules of a healthy node, as kube-proxy (iptables mode), the kubelet and flanneld write them.
 * Sources: kubernetes pkg/proxy/iptables/proxier.go and pkg/kubelet/kubelet_network_linux.go (1.31), flannel
 * pkg/trafficmngr/iptables/iptables.go (0.26); compared with what iptables-save prints on such nodes.
 */

/** One port of a Service with a ClusterIP, and the `IP:PORT` pairs behind it. */
export type ServicePort = {
  readonly service: string;
  readonly name: string;
  readonly protocol: 'tcp' | 'udp';
  readonly clusterIP: string;
  readonly port: number;
  readonly endpoints: readonly string[];
};

/** Every Service port of a lab. */
export function servicePorts(topology: Topology): ServicePort[] {
  const dns = { service: 'kube-system/kube-dns', clusterIP: CLUSTER.dnsService } as const;
  const at = (role: 'coredns' | 'web', port: number): string[] => podsOf(topology, role).map((pod) => `${pod.ip}:${port}`);
  return [
    {
      service: 'default/kubernetes',
      name: 'https',
      protocol: 'tcp',
      clusterIP: CLUSTER.apiService,
      port: 443,
      endpoints: [`${RACK.controlPlane.ip}:${CLUSTER.apiPort}`],
    },
    { ...dns, name: 'dns', protocol: 'udp', port: 53, endpoints: at('coredns', 53) },
    { ...dns, name: 'dns-tcp', protocol: 'tcp', port: 53, endpoints: at('coredns', 53) },
    { ...dns, name: 'metrics', protocol: 'tcp', port: 9153, endpoints: at('coredns', 9153) },
    {
      service: 'default/web',
      name: 'http',
      protocol: 'tcp',
      clusterIP: CLUSTER.webService,
      port: 80,
      endpoints: at('web', 8080),
    },
  ];
}

/** The chain of a Service port: `KUBE-SVC-` and 16 characters of a hash, as kube-proxy computes it. */
export function serviceChain(port: Pick<ServicePort, 'service' | 'name' | 'protocol'>): string {
  return `KUBE-SVC-${chainHash(portName(port) + port.protocol)}`;
}

/** The chain of one endpoint (`IP:PORT`) of a Service port. */
export function endpointChain(port: Pick<ServicePort, 'service' | 'name' | 'protocol'>, endpoint: string): string {
  return `KUBE-SEP-${chainHash(portName(port) + port.protocol + endpoint)}`;
}

/** The part of the rules that is the same on every node of a lab: the chains of the Services, and what is in them. */
export type ServiceSections = { readonly chains: string; readonly rules: string };

export function serviceSections(topology: Topology, ports: readonly ServicePort[] = servicePorts(topology)): ServiceSections {
  const chains = ports.flatMap((port) => [
    serviceChain(port),
    ...port.endpoints.map((endpoint) => endpointChain(port, endpoint)),
  ]);
  return {
    chains: chains.map((chain) => `:${chain} - [0:0]\n`).join(''),
    rules: ports.map((port) => serviceRules(port, topology.clusterCIDR)).join(''),
  };
}

/** What a healthy node's rules are, as input of `iptables-restore --noflush`. */
export function nodeRules(topology: Topology, node: LabNode, services: ServiceSections): string {
  const flannel = (text: string): string => (topology.network === 'kubenet' ? '' : `${text}\n`);
  const kubenet = (text: string): string => (topology.network === 'kubenet' ? `${text}\n` : '');
  return `*mangle
:KUBE-IPTABLES-HINT - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-PROXY-CANARY - [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
${flannel(':FLANNEL-FWD - [0:0]')}:KUBE-EXTERNAL-SERVICES - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-PROXY-FIREWALL - [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A INPUT -m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS
-A INPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
-A INPUT -j KUBE-FIREWALL
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES
${flannel('-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD')}-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -j KUBE-FIREWALL
${flannel(`-A FLANNEL-FWD -s ${topology.clusterCIDR} -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d ${topology.clusterCIDR} -m comment --comment "flanneld forward" -j ACCEPT`)}-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
${flannel(':FLANNEL-POSTRTG - [0:0]')}${kubenet(':IP-MASQ-AGENT - [0:0]')}:KUBE-KUBELET-CANARY - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
${services.chains}-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
${flannel(`-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
${masqueradeRules(topology.clusterCIDR, node.podCIDR).trimEnd()}`)}${kubenet(IP_MASQ_AGENT)}-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
${services.rules}${NODE_PORTS}
COMMIT
`;
}

/** What pods send to private addresses keeps their own; ip-masq-agent, cmd/ip-masq-agent/ip-masq-agent.go (2.11). */
const IP_MASQ_AGENT = [
  '-A POSTROUTING -m comment --comment "ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic to our custom IP-MASQ-AGENT chain" -m addrtype ! --dst-type LOCAL -j IP-MASQ-AGENT',
  ...['169.254.0.0/16', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(
    (block) =>
      `-A IP-MASQ-AGENT -d ${block} -m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -m addrtype ! --dst-type LOCAL -j RETURN`,
  ),
  '-A IP-MASQ-AGENT -m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -m addrtype ! --dst-type LOCAL -j MASQUERADE',
].join('\n');

function masqueradeRules(clusterCIDR: string, podCIDR: string): string {
  return [
    '-m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
    `-s ${podCIDR} -d ${clusterCIDR} -m comment --comment "flanneld masq" -j RETURN`,
    `-s ${clusterCIDR} -d ${podCIDR} -m comment --comment "flanneld masq" -j RETURN`,
    `! -s ${clusterCIDR} -d ${podCIDR} -m comment --comment "flanneld masq" -j RETURN`,
    `-s ${clusterCIDR} ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully`,
    `! -s ${clusterCIDR} -d ${clusterCIDR} -m comment --comment "flanneld masq" -j MASQUERADE --random-fully`,
  ]
    .map((rule) => `-A FLANNEL-POSTRTG ${rule}\n`)
    .join('');
}

/** kube-proxy's last rule, after those of all Services. */
const NODE_PORTS =
  '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS';

/** kube-proxy's own chains of all Services, written anew, as input of `iptables-restore --noflush`. */
export function proxyRules(topology: Topology): string {
  const { chains, rules } = serviceSections(topology);
  const rejections = servicePorts(topology)
    .filter(({ endpoints }) => endpoints.length === 0)
    .map(
      (port) =>
        `-A KUBE-SERVICES -d ${port.clusterIP}/32 -p ${port.protocol} -m comment --comment "${portName(port)} has no endpoints" -m ${port.protocol} --dport ${port.port} -j REJECT --reject-with icmp-port-unreachable\n`,
    );
  return `*nat
:KUBE-SERVICES - [0:0]
${chains}${rules}${NODE_PORTS}
COMMIT
*filter
:KUBE-SERVICES - [0:0]
${rejections.join('')}COMMIT
`;
}

/** The rules of one Service port in the nat table: its match in KUBE-SERVICES, its chain, and a chain per endpoint. */
function serviceRules(port: ServicePort, clusterCIDR: string): string {
  const { protocol, endpoints } = port;
  if (endpoints.length === 0) return '';
  const name = portName(port);
  const chain = serviceChain(port);
  const match = `-d ${port.clusterIP}/32 -p ${protocol} -m comment --comment "${name} cluster IP" -m ${protocol} --dport ${port.port}`;
  const rules = [
    `-A KUBE-SERVICES ${match} -j ${chain}`,
    `-A ${chain} ! -s ${clusterCIDR} ${match} -j KUBE-MARK-MASQ`,
    ...endpoints.map((endpoint, index) => {
      const left = endpoints.length - index;
      const share = left === 1 ? '' : ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}`;
      return `-A ${chain} -m comment --comment "${name} -> ${endpoint}"${share} -j ${endpointChain(port, endpoint)}`;
    }),
    ...endpoints.flatMap((endpoint) => [
      `-A ${endpointChain(port, endpoint)} -s ${endpoint.split(':')[0]}/32 -m comment --comment "${name}" -j KUBE-MARK-MASQ`,
      `-A ${endpointChain(port, endpoint)} -p ${protocol} -m comment --comment "${name}" -m ${protocol} -j DNAT --to-destination ${endpoint}`,
    ]),
  ];
  return rules.map((rule) => `${rule}\n`).join('');
}

function portName(port: Pick<ServicePort, 'service' | 'name'>): string {
  return `${port.service}:${port.name}`;
}

const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** The first 16 characters of the base32 form (RFC 4648) of a SHA-256. */
function chainHash(text: string): string {
  const digest = createHash('sha256').update(text).digest().subarray(0, 10);
  const bits = [...digest].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{5}/g) ?? []).map((group) => BASE32[Number.parseInt(group, 2)]).join('');
}

/**
 * The Services of a lab as kube-proxy in nftables mode writes them, as input of `nft -f`; pkg/proxy/nftables/proxier.go
 * (1.33), with one chain for each Service port and endpoint.
 */
export function nftablesServices(topology: Topology): string {
  const ports = servicePorts(topology).map((port) => ({
    ...port,
    chain: `service-${chainHash(portName(port))}-${port.service}/${port.protocol}/${port.name}`,
    ends: port.endpoints.map((endpoint) => ({
      endpoint,
      chain: `endpoint-${chainHash(portName(port) + endpoint)}-${port.service}/${port.protocol}/${port.name}__${endpoint.replace(':', '/')}`,
    })),
  }));
  const elements = ports.map(
    ({ clusterIP, protocol, port, chain }) => `      ${clusterIP} . ${protocol} . ${port} : goto ${chain}`,
  );
  const chains = ports.flatMap(({ clusterIP, protocol, port, chain, ends }) => [
    ...ends.map(
      (end) => `  chain ${end.chain} {
    ip saddr ${end.endpoint.split(':')[0]} jump mark-for-masquerade
    meta l4proto ${protocol} dnat to ${end.endpoint}
  }
`,
    ),
    `  chain ${chain} {
    ip daddr ${clusterIP} ${protocol} dport ${port} ip saddr != ${topology.clusterCIDR} jump mark-for-masquerade
    numgen random mod ${ends.length} vmap { ${ends.map((end, index) => `${index} : goto ${end.chain}`).join(', ')} }
  }
`,
  ]);
  return `table ip kube-proxy {
  comment "rules for kube-proxy"
  chain mark-for-masquerade {
    meta mark set meta mark | 0x00004000
  }
  chain masquerading {
    meta mark & 0x00004000 == 0 return
    meta mark set meta mark ^ 0x00004000
    masquerade fully-random
  }
${chains.join('')}  map service-ips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {
${elements.join(',\n')}
    }
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
  }
  chain nat-prerouting {
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }
  chain nat-output {
    type nat hook output priority -100; policy accept;
    jump services
  }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }
}
`;
}
