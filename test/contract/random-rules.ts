/*
 * Random packet filters for the topology of `netfilter.spec.ts`, in the words of the three rule systems. Everything is
 * drawn from one seed, so that a failure can be repeated.
 */

export type Random = {
  readonly below: (n: number) => number;
  readonly pick: <T>(from: readonly T[]) => T;
  readonly chance: (p: number) => boolean;
};

/** A small generator (mulberry32); the same seed gives the same numbers everywhere. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(next() * n);
  return {
    below,
    chance: (p) => next() < p,
    pick(from) {
      const picked = from[below(from.length)];
      if (picked === undefined) throw new Error('nothing to pick from');
      return picked;
    },
  };
}

/** Rules to load; `unknowable`: one of them asks what cannot be told from rules and packet. */
export type RandomRules = { readonly text: string; readonly unknowable: boolean };

const ADDRESSES = [
  '10.1.0.2',
  '10.1.0.3',
  '10.1.0.1',
  '10.2.0.1',
  '10.2.0.2',
  '10.1.0.0/24',
  '10.2.0.0/24',
  '10.0.0.0/8',
  '10.1.0.2/31',
  '192.168.0.0/16',
];
const PORTS = [7001, 7002, 7003, 22];
const STATES = [
  'NEW',
  'ESTABLISHED',
  'RELATED,ESTABLISHED',
  'INVALID',
  'UNTRACKED',
  'NEW,ESTABLISHED',
  'DNAT',
  'NEW,DNAT',
  'INVALID,NEW',
];
const USER_CHAINS = ['U1', 'U2', 'U3'];
const IPTABLES_CHAINS: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

/** Input for `iptables-legacy-restore` or `iptables-nft-restore`. */
export function randomIptables(random: Random): RandomRules {
  let unknowable = false;
  const tables = Object.entries(IPTABLES_CHAINS).flatMap(([table, builtIn]) => {
    if (table !== 'filter' && random.chance(0.5)) return [];
    const lines = builtIn.map((chain) => `:${chain} ${random.chance(0.15) ? 'DROP' : 'ACCEPT'} [0:0]`);
    lines.push(...USER_CHAINS.map((chain) => `:${chain} - [0:0]`));
    for (const chain of [...builtIn, ...USER_CHAINS]) {
      for (let count = random.below(4); count > 0; count -= 1) {
        const rule = iptablesRule(random, table, chain);
        unknowable ||= rule.unknowable;
        lines.push(`-A ${chain} ${rule.text}`);
      }
    }
    return [`*${table}`, ...lines, 'COMMIT'];
  });
  return { text: `${tables.join('\n')}\n`, unknowable };
}

function iptablesRule(random: Random, table: string, chain: string): RandomRules {
  const not = (): string => (random.chance(0.25) ? '! ' : '');
  const matches: string[] = [];
  let unknowable = false;
  if (random.chance(0.4)) matches.push(`${not()}-s ${random.pick(ADDRESSES)}`);
  if (random.chance(0.4)) matches.push(`${not()}-d ${random.pick(ADDRESSES)}`);
  const hooks = USER_CHAINS.includes(chain) ? [] : [chain];
  if (random.chance(0.3) && hooks.every((hook) => !['OUTPUT', 'POSTROUTING'].includes(hook)) && hooks.length > 0) {
    matches.push(`${not()}-i ${random.pick(['br0', 'eth0', 'br+', 'e+', 'nosuch0'])}`);
  }
  if (random.chance(0.3) && hooks.every((hook) => !['INPUT', 'PREROUTING'].includes(hook)) && hooks.length > 0) {
    matches.push(`${not()}-o ${random.pick(['br0', 'eth0', 'br+', 'e+', 'nosuch0'])}`);
  }
  matches.push(...iptablesProtocol(random, not));
  // before connection tracking its states mean something else
  if (random.chance(table === 'raw' ? 0.7 : 0.3)) matches.push(`-m conntrack ${not()}--ctstate ${random.pick(STATES)}`);
  if (random.chance(0.15)) matches.push(`-m mark ${not()}--mark ${random.pick(['0x1', '0x1/0x1', '0x4/0x6', '0x0/0x2'])}`);
  if (random.chance(0.1)) matches.push(`-m iprange ${not()}--src-range 10.1.0.2-10.2.0.1`);
  if (random.chance(0.1) && (chain === 'INPUT' || chain === 'FORWARD')) {
    matches.push(
      `-m addrtype ${not()}--${random.pick(['src', 'dst'])}-type ${random.pick(['LOCAL', 'UNICAST', 'BROADCAST,MULTICAST'])}`,
    );
  }
  if (random.chance(0.05)) matches.push(`-m pkttype ${not()}--pkt-type ${random.pick(['unicast', 'broadcast'])}`);
  if (random.chance(0.1) && chain === 'FORWARD') matches.push(`-m physdev ${not()}--physdev-is-bridged`);
  if (random.chance(0.05) && chain === 'FORWARD')
    matches.push(`-m physdev ${not()}--physdev-in ${random.pick(['vclient', 'vpeer', 'v+'])}`);
  if (random.chance(0.04)) {
    matches.push(
      random.pick([
        '-m ttl --ttl-lt 70',
        '-m dscp --dscp 0',
        '-m connlimit --connlimit-above 1000',
        '-m statistic --mode random --probability 0.5',
      ]),
    );
    unknowable = true;
  }
  if (random.chance(0.05)) matches.push('-m comment --comment "a \\"quoted\\" -j DROP"');
  return { text: [...matches, iptablesTarget(random, table, chain, matches)].join(' '), unknowable };
}

function iptablesProtocol(random: Random, not: () => string): string[] {
  switch (random.below(9)) {
    case 0:
      return ['-p tcp', `-m tcp ${not()}--dport ${random.pick([...PORTS, '7001:7002', ':7000', '7003:'])}`];
    case 1:
      return ['-p udp', `-m udp ${not()}--dport ${random.pick([...PORTS, '7001:7002', '7002:'])}`];
    case 2:
      return ['-p udp', `-m udp ${not()}--sport ${random.pick([...PORTS, '7001:7003'])}`];
    case 3:
      return ['-p tcp', `-m multiport ${not()}--${random.pick(['dports', 'sports', 'ports'])} 22,7001,7003:7010`];
    case 4:
      return ['-p icmp', `-m icmp ${not()}--icmp-type ${random.pick(['8', '0', '3/1', '8/0', 'any'])}`];
    case 5:
      return [
        '-p tcp',
        `-m tcp ${not()}--tcp-flags ${random.pick(['SYN,RST,ACK,FIN SYN', 'SYN,ACK SYN,ACK', 'ALL NONE', 'RST RST'])}`,
      ];
    case 6:
      return [`${not()}-p ${random.pick(['tcp', 'udp', 'icmp'])}`];
    default:
      return [];
  }
}

function iptablesTarget(random: Random, table: string, chain: string, matches: readonly string[]): string {
  const later = USER_CHAINS.slice(USER_CHAINS.indexOf(chain) + 1);
  const targets = [
    '-j ACCEPT',
    '-j ACCEPT',
    '-j ACCEPT',
    '-j DROP',
    '-j RETURN',
    '-j MARK --set-mark 0x1',
    '-j MARK --or-mark 0x4',
    '-j MARK --xor-mark 0x3',
    '-j MARK --and-mark 0xfffffffe',
  ];
  if (later.length > 0)
    targets.push(`-j ${random.pick(later)}`, `-j ${random.pick(later)}`, `-j ${random.pick(later)}`, `-g ${random.pick(later)}`);
  if (table === 'raw') targets.push('-j CT --notrack');
  if (table === 'filter') {
    targets.push('-j REJECT --reject-with icmp-host-prohibited');
    if (matches.includes('-p tcp')) targets.push('-j REJECT --reject-with tcp-reset');
  }
  return random.pick(targets);
}

const NFT_HOOKS = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

/** Input for `nft -f -`: one or two tables, of which one may be a second filter behind the first. */
export function randomNft(random: Random): RandomRules {
  let unknowable = false;
  const tables = Array.from({ length: 1 + random.below(2) }, (_, index) => {
    const family = random.pick(['inet', 'ip']);
    const chains = NFT_HOOKS.filter(() => random.chance(0.6)).map((hook) => {
      const priority = random.pick(['-350', '-150', '0', '0', '10', '100']);
      return {
        name: hook,
        head: `type filter hook ${hook} priority ${priority}; policy ${random.chance(0.15) ? 'drop' : 'accept'};`,
        early: priority === '-350',
      };
    });
    const lines: string[] = [];
    for (const chain of [...chains, ...USER_CHAINS.map((name) => ({ name, head: '', early: false }))]) {
      const rules = Array.from({ length: random.below(4) }, () => nftRule(random, family, chain.name, chain.early));
      unknowable ||= rules.some((rule) => rule.unknowable);
      lines.push(`chain ${chain.name} { ${chain.head}\n${rules.map((rule) => `${rule.text}\n`).join('')}}`);
    }
    // chains that are jumped to have to stand first
    return [`table ${family} t${index} {`, NFT_SETS, ...lines.toReversed(), '}'].join('\n');
  });
  if (random.chance(0.4)) tables.push(bridgeTable(random));
  return { text: `${tables.join('\n')}\n`, unknowable };
}

/** Rules for frames. All of them ask for an address, so that ARP always passes. */
function bridgeTable(random: Random): string {
  const chains = NFT_HOOKS.filter(() => random.chance(0.5)).map((hook) => {
    const rules = Array.from({ length: 1 + random.below(2) }, () => {
      const not = random.chance(0.25) ? '!= ' : '';
      const device = ['output', 'postrouting'].includes(hook) ? 'oifname' : 'iifname';
      const parts = [`ip ${random.pick(['saddr', 'daddr'])} ${not}${random.pick(ADDRESSES)}`];
      if (random.chance(0.4))
        parts.push(random.pick(['udp dport 7001', 'tcp dport 7002-7003', 'ip protocol icmp', 'tcp flags syn']));
      if (random.chance(0.3)) parts.push(`${device} ${random.pick(['vclient', 'vpeer', '"v*"', 'nosuch0'])}`);
      return `${parts.join(' ')} ${random.pick(['accept', 'drop', 'drop'])}\n`;
    });
    return `chain ${hook} { type filter hook ${hook} priority ${random.pick(['-200', '0'])};\n${rules.join('')}}`;
  });
  return ['table bridge frames {', ...chains, '}'].join('\n');
}

const NFT_SETS = `set hosts { type ipv4_addr; flags interval; elements = { 10.1.0.2, 10.2.0.0/31 } }
set services { type ipv4_addr . inet_proto . inet_service; elements = { 10.2.0.2 . tcp . 7001, 10.2.0.2 . udp . 7002, 10.1.0.1 . udp . 7001 } }
map verdicts { type inet_service : verdict; elements = { 7001 : accept, 7002 : drop, 7003 : return } }`;

function nftRule(random: Random, family: string, chain: string, early: boolean): RandomRules {
  const not = (): string => (random.chance(0.25) ? '!= ' : '');
  const parts: string[] = [];
  let unknowable = false;
  if (random.chance(0.3))
    parts.push(`ip saddr ${not()}${random.pick([...ADDRESSES, '@hosts', '{ 10.1.0.2, 10.2.0.2 }', '10.1.0.1-10.1.0.3'])}`);
  if (random.chance(0.3)) parts.push(`ip daddr ${not()}${random.pick([...ADDRESSES, '@hosts', '{ 10.0.0.0/15, 10.2.0.0/24 }'])}`);
  if (random.chance(0.2) && !['output', 'postrouting'].includes(chain))
    parts.push(`iifname ${not()}${random.pick(['br0', 'eth0', '"br*"', '{ br0, nosuch0 }'])}`);
  if (random.chance(0.2) && !['input', 'prerouting'].includes(chain))
    parts.push(`oifname ${not()}${random.pick(['br0', 'eth0', '"e*"', '{ eth0, nosuch0 }'])}`);
  const protocol = nftProtocol(random, not);
  parts.push(...protocol);
  if (random.chance(early ? 0.7 : 0.25)) {
    parts.push(
      `ct state ${random.pick(['new', 'established', 'established,related', 'invalid', 'untracked', '{ new, established }', '!= new', '! established,new'])}`,
    );
  }
  if (random.chance(0.15))
    parts.push(`meta mark ${random.pick(['0x1', '!= 0x1', '& 0x4 == 0x4', '& 0x6 != 0', '{ 0x1, 0x4 }'])}`);
  if (random.chance(0.05)) parts.push('ip daddr . meta l4proto . th dport @services');
  if (random.chance(0.05) && ['input', 'forward'].includes(chain)) parts.push(`fib daddr type ${not()}local`);
  if (random.chance(0.04)) {
    parts.push(random.pick(['ip ttl < 70', 'ip dscp 0', 'numgen random mod 2 0', 'ip id != 0']));
    unknowable = true;
  }
  if (random.chance(0.2)) parts.push('counter');
  return { text: [...parts, nftTarget(random, family, chain, protocol.length === 0)].join(' '), unknowable };
}

function nftProtocol(random: Random, not: () => string): string[] {
  switch (random.below(9)) {
    case 0:
      return [`tcp dport ${not()}${random.pick([...PORTS, '7001-7002', '{ 22, 7003 }'])}`];
    case 1:
      return [`udp dport ${not()}${random.pick([...PORTS, '7001-7002', '{ 22, 7001-7002 }'])}`];
    case 2:
      return [`udp sport ${not()}${random.pick(PORTS)}`];
    case 3:
      return [`icmp type ${not()}${random.pick(['echo-request', 'echo-reply', '{ echo-request, destination-unreachable }'])}`];
    case 4:
      return [
        `tcp flags ${random.pick(['syn', '& (syn|ack) == syn', '& (fin|syn|rst|ack) != syn', '{ syn, syn|ack }', '!= syn'])}`,
      ];
    case 5:
      return [`meta l4proto ${not()}${random.pick(['tcp', 'udp', 'icmp', '{ tcp, udp }'])}`];
    case 6:
      return [`tcp dport ${random.pick(['> 7001', '<= 7002', '>= 7003', '< 7001'])}`];
    default:
      return [];
  }
}

function nftTarget(random: Random, family: string, chain: string, anyProtocol: boolean): string {
  const later = USER_CHAINS.slice(USER_CHAINS.indexOf(chain) + 1);
  const targets = [
    'accept',
    'accept',
    'accept',
    'drop',
    'return',
    'continue',
    'meta mark set 0x1',
    'meta mark set meta mark or 0x4',
    'meta mark set meta mark xor 0x3',
    'meta mark set (meta mark and 0xfffffffe) or 0x4',
    'meta mark set 0x4 meta mark 0x4 accept',
    'ct state vmap { established : accept, invalid : drop }',
  ];
  // nft refuses a rule that asks for two protocols
  if (anyProtocol)
    targets.push(
      'tcp dport vmap @verdicts',
      'udp dport vmap { 7001 : drop, 7002-7003 : accept }',
      'icmp type vmap { echo-reply : drop }',
    );
  if (later.length > 0) {
    targets.push(`jump ${random.pick(later)}`, `jump ${random.pick(later)}`, `goto ${random.pick(later)}`);
    targets.push(`meta l4proto vmap { tcp : jump ${random.pick(later)}, udp : goto ${random.pick(later)} }`);
  }
  if (['input', 'forward', 'output'].includes(chain))
    targets.push('reject', family === 'inet' ? 'reject with icmpx admin-prohibited' : 'reject with icmp host-prohibited');
  if (chain === 'prerouting') targets.push('notrack');
  return random.pick(targets);
}
