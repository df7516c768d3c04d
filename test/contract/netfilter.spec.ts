import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Step, Table } from '../../src/checks/kit/netfilter/ast.ts';
import { parseIptablesSave } from '../../src/checks/kit/netfilter/iptables-save.ts';
import { parseNft } from '../../src/checks/kit/netfilter/nft.ts';
import { type FilterPacket, type HookAt, unchanged } from '../../src/checks/kit/netfilter/packet.ts';
import { joinTables } from '../../src/checks/kit/netfilter/rulesets.ts';
import { createWalk, type Outcome, type Walk } from '../../src/checks/kit/netfilter/walk.ts';
import { openStage, type Peer, type Ran, type Stage } from '../netns/stage.ts';
import { createRandom, randomIptables, randomNft } from './random-rules.ts';

/*
 * Does the walk agree with the kernel? Random rules are loaded into a real router, real packets are sent, and what arrives
 * is compared with what the walk says.
 *
 *     client 10.1.0.2 ─┐
 *                      ├─ br0 10.1.0.1  router  10.2.0.1 eth0 ── server 10.2.0.2
 *     peer   10.1.0.3 ─┘
 *
 * Frames between client and peer stay on the bridge and are shown to the rules by br_netfilter. NETCHECK_RULESETS sets
 * how many rulesets of each system are tried, NETCHECK_SEED where to begin.
 */

const missing = process.env['NETCHECK_LAB_MISSING'];
const firstSeed = Number(process.env['NETCHECK_SEED'] ?? 1);
const seeds = Array.from({ length: Number(process.env['NETCHECK_RULESETS'] ?? 12) }, (_, index) => firstSeed + index);

const HOSTS = ['client', 'peer', 'router', 'server'] as const;
type Host = (typeof HOSTS)[number];
const PORTS = [7001, 7002, 7003];
const ADDRESS: Readonly<Record<Host, string>> = { client: '10.1.0.2', peer: '10.1.0.3', router: '10.1.0.1', server: '10.2.0.2' };

const BUILD: Readonly<Record<Host, readonly string[]>> = {
  router: [
    'link add br0 type bridge',
    'link add vclient type veth peer name eth0 netns client',
    'link add vpeer type veth peer name eth0 netns peer',
    'link add eth0 type veth peer name eth0 netns server',
    'link set vclient master br0 up',
    'link set vpeer master br0 up',
    'link set br0 up',
    'link set eth0 up',
    'link set lo up',
    'address add 10.1.0.1/24 dev br0',
    'address add 10.2.0.1/24 dev eth0',
  ],
  client: ['link set lo up', 'link set eth0 up', 'address add 10.1.0.2/24 dev eth0', 'route add default via 10.1.0.1'],
  peer: ['link set lo up', 'link set eth0 up', 'address add 10.1.0.3/24 dev eth0', 'route add default via 10.1.0.1'],
  server: ['link set lo up', 'link set eth0 up', 'address add 10.2.0.2/24 dev eth0', 'route add default via 10.2.0.1'],
};

let stage: Stage;
let peers: Readonly<Record<Host, Peer>>;

beforeAll(async () => {
  if (missing) return;
  stage = await openStage();
  for (const host of HOSTS) await must(stage.run(null, ['ip', 'netns', 'add', host]));
  for (const [host, lines] of Object.entries(BUILD)) await must(stage.run(host, ['ip', '-batch', '-'], lines.join('\n')));
  // nothing moves, so nothing needs to be asked for on the wire while rules forbid it
  await must(
    stage.run('router', [
      'sysctl',
      '-qw',
      'net.ipv4.ip_forward=1',
      'net.bridge.bridge-nf-call-iptables=1',
      'net.ipv4.icmp_ratelimit=0',
    ]),
  );
  const started = HOSTS.map(async (host) => {
    const peer = await stage.peer(host);
    peer.tell({ do: 'serve', ports: PORTS });
    if (!(await peer.until((event) => event.is === 'serving', 10_000))) throw new Error(`${host} does not serve`);
    return [host, peer] as const;
  });
  peers = Object.fromEntries(await Promise.all(started)) as Record<Host, Peer>;
}, 30_000);

afterAll(async () => {
  if (!missing) await stage.close();
});

async function must(running: Promise<Ran>): Promise<string> {
  const { exitCode, stdout, stderr } = await running;
  if (exitCode !== 0) throw new Error(`exit status ${exitCode}: ${stderr}`);
  return stdout;
}

type At = { readonly hook: HookAt; readonly on: Partial<FilterPacket> };
type Path = { readonly from: Host; readonly to: Host; readonly there: readonly At[]; readonly back: readonly At[] };

const toBridge: Partial<FilterPacket> = { iif: 'br0', srcType: 'unicast', dstType: 'unicast' };
const bridged: Partial<FilterPacket> = { iif: 'br0', oif: 'br0', bridged: true };

/** A frame that comes in by a port of the bridge, or goes out by one. */
function frames(port: string, dir: 'in' | 'out'): At[] {
  const hooks =
    dir === 'in' ? (['bridge-prerouting', 'bridge-input'] as const) : (['bridge-output', 'bridge-postrouting'] as const);
  return hooks.map((hook) => ({ hook, on: dir === 'in' ? { iif: port } : { oif: port } }));
}

/** A frame from one port of the bridge to another, which br_netfilter shows to the rules of the IP layer. */
function across(from: string, to: string): At[] {
  return [
    { hook: 'bridge-prerouting', on: { iif: from } },
    { hook: 'prerouting', on: { ...toBridge, portIn: from } },
    { hook: 'bridge-forward', on: { iif: from, oif: to } },
    { hook: 'forward', on: { ...bridged, portIn: from, portOut: to } },
    { hook: 'bridge-postrouting', on: { oif: to } },
    { hook: 'postrouting', on: { oif: 'br0', srcType: 'unicast', dstType: 'unicast' } },
  ];
}

const PATHS: readonly Path[] = [
  {
    from: 'client',
    to: 'server',
    there: [
      ...frames('vclient', 'in'),
      { hook: 'prerouting', on: { ...toBridge, portIn: 'vclient' } },
      { hook: 'forward', on: { iif: 'br0', oif: 'eth0', portIn: 'vclient' } },
      { hook: 'postrouting', on: { oif: 'eth0', srcType: 'unicast', dstType: 'unicast' } },
    ],
    back: [
      { hook: 'prerouting', on: { iif: 'eth0', portIn: '', srcType: 'unicast', dstType: 'unicast' } },
      { hook: 'forward', on: { iif: 'eth0', oif: 'br0', portIn: '' } },
      { hook: 'postrouting', on: { oif: 'br0', srcType: 'unicast', dstType: 'unicast' } },
      ...frames('vclient', 'out'),
    ],
  },
  { from: 'client', to: 'peer', there: across('vclient', 'vpeer'), back: across('vpeer', 'vclient') },
  {
    from: 'client',
    to: 'router',
    there: [
      ...frames('vclient', 'in'),
      { hook: 'prerouting', on: { iif: 'br0', srcType: 'unicast', dstType: 'local' } },
      { hook: 'input', on: { iif: 'br0', srcType: 'unicast' } },
    ],
    back: [
      { hook: 'output', on: { oif: 'br0', dstType: 'unicast' } },
      { hook: 'postrouting', on: { oif: 'br0', srcType: 'local', dstType: 'unicast' } },
      ...frames('vclient', 'out'),
    ],
  },
  {
    from: 'router',
    to: 'server',
    there: [
      { hook: 'output', on: { oif: 'eth0', dstType: 'unicast' } },
      { hook: 'postrouting', on: { oif: 'eth0', srcType: 'local', dstType: 'unicast' } },
    ],
    back: [
      { hook: 'prerouting', on: { iif: 'eth0', srcType: 'unicast', dstType: 'local' } },
      { hook: 'input', on: { iif: 'eth0', srcType: 'unicast' } },
    ],
  },
];

/** What the walk expects: that something arrives, that it does not, or null where it may or may not. */
type Expected = boolean | null;

type Probe = { readonly id: string; readonly path: Path; readonly proto: 'icmp' | 'udp' | 'tcp'; readonly port: number };
type Expectation = { readonly request: Expected; readonly reply: Expected; readonly outcomes: readonly Outcome[] };

function probesOf(run: string): Probe[] {
  return PATHS.flatMap((path) => [
    { id: `${run}/${path.from}-${path.to}/icmp`, path, proto: 'icmp' as const, port: 0 },
    ...PORTS.flatMap((port) =>
      (['udp', 'tcp'] as const).map((proto) => ({ id: `${run}/${path.from}-${path.to}/${proto}${port}`, path, proto, port })),
    ),
  ]);
}

const EPHEMERAL = 45_000;

function expectationOf(walk: Walk, { path, proto, port }: Probe): Expectation {
  const source = path.from === 'router' ? '10.2.0.1' : ADDRESS[path.from];
  const common = { proto, dnat: false, snat: false, ...(proto === 'udp' ? { size: 60 } : {}) };
  const request: FilterPacket = {
    ...common,
    src: source,
    dst: ADDRESS[path.to],
    state: 'new',
    ...(proto === 'icmp' ? { icmpType: 8 } : { sport: EPHEMERAL, dport: port }),
  };
  const reply: FilterPacket = {
    ...common,
    src: ADDRESS[path.to],
    dst: source,
    state: 'established',
    ...(proto === 'icmp' ? { icmpType: 0 } : { sport: port, dport: EPHEMERAL, tcpFlags: ['syn', 'ack'] }),
  };
  const there = walkPath(walk, path.there, request);
  // without tracking, the answer belongs to no connection
  const back = there.untracked ? { expected: null, outcomes: [] } : walkPath(walk, path.back, reply);
  // a connection counts as made before the third packet is sent, unless a rule of the sender's own host rejects that
  const third =
    proto === 'tcp' ? walkPath(walk, path.there, { ...request, state: 'established', tcpFlags: ['ack'] }).expected : true;
  const last = third === true ? true : null;
  return {
    request: there.expected,
    reply: both(both(there.expected, back.expected), last),
    outcomes: [...there.outcomes, ...back.outcomes],
  };
}

function both(a: Expected, b: Expected): Expected {
  if (a === false || b === false) return false;
  return a === null || b === null ? null : true;
}

function walkPath(
  walk: Walk,
  path: readonly At[],
  packet: FilterPacket,
): { expected: Expected; untracked: boolean; outcomes: readonly Outcome[] } {
  const outcomes: Outcome[] = [];
  let expected: Expected = true;
  let changes = unchanged(packet);
  for (const { hook, on } of path) {
    const outcome = walk(hook, { ...packet, ...on }, changes);
    outcomes.push(outcome);
    expected = both(
      expected,
      outcome.verdict === 'accept' ? true : outcome.verdict === 'unknown' || outcome.partial ? null : false,
    );
    if (outcome.after === null) break;
    changes = outcome.after;
  }
  return { expected, untracked: changes.untracked !== false, outcomes };
}

/** Sends a probe; resolves with what really happened once everything that is expected has happened. */
async function send(probe: Probe, { request, reply }: Expectation): Promise<{ request: boolean | null; reply: boolean }> {
  const { id, path, proto, port } = probe;
  const from = peers[path.from];
  if (proto === 'icmp') {
    const { exitCode } = await stage.run(path.from, [
      'fping',
      '-q',
      '-c1',
      reply === true ? '-t3000' : '-t100',
      ADDRESS[path.to],
    ]);
    return { request: null, reply: exitCode === 0 };
  }
  from.tell({ do: proto, id, to: ADDRESS[path.to], port });
  const answered = (): Promise<boolean> =>
    from.until((event) => event.is === (proto === 'tcp' ? 'connected' : 'answered') && event.id === id, 3000);
  const received = (): Promise<boolean> => peers[path.to].until((event) => event.is === 'received' && event.id === id, 3000);
  return {
    request: proto === 'tcp' ? null : request === true ? await received() : false,
    reply: reply === true ? await answered() : false,
  };
}

/** A turn of every process's event loop: what has arrived by then has been reported. */
async function flushEvents(run: string): Promise<void> {
  for (const host of HOSTS.filter((name) => name !== 'router')) {
    const id = `${run}/flush`;
    peers[host].tell({ do: 'udp', id, to: '127.0.0.1', port: 7001 });
    const answered = await peers[host].until((event) => event.is === 'answered' && event.id === id, 3000);
    if (!answered) throw new Error(`${host} does not answer itself`);
  }
}

function happened(host: Host, is: 'received' | 'answered' | 'connected', id: string): boolean {
  return peers[host].events.some((event) => event.is === is && event.id === id);
}

type Loaded = { readonly tables: readonly Table[]; readonly printed: string };

/** Rules of a trial, and whether one of them asks what cannot be told from rules and packet. */
type Trial = { readonly name: string; readonly text: string; readonly unknowable?: true };

/** A packet of which the walk says something else than what happened, or nothing although the rules hold no riddle. */
type Disagreement = {
  readonly probe: string;
  readonly said: object;
  readonly seen: object;
  readonly outcomes: readonly Outcome[];
  readonly rules: string;
};

/** Loads rules, sends every probe, and compares. */
async function disagreements(run: string, isUnknowable: boolean, load: () => Promise<Loaded>): Promise<Disagreement[]> {
  const { tables, printed } = await load();
  // a port that an earlier ruleset's probe used would belong to that connection
  await must(stage.run('router', ['conntrack', '-F']));
  const walk = createWalk(tables);
  const probes = probesOf(run).map((probe) => ({ probe, expected: expectationOf(walk, probe) }));
  const results = await Promise.all(
    probes.map(async ({ probe, expected }) => ({ probe, expected, really: await send(probe, expected) })),
  );
  await flushEvents(run);
  for (const host of HOSTS) peers[host].tell({ do: 'close' });
  return results.flatMap(({ probe, expected, really }) => {
    const { id, path, proto } = probe;
    const seen = {
      request: expected.request === null || really.request === null ? null : really.request || happened(path.to, 'received', id),
      reply: expected.reply === null ? null : really.reply || happened(path.from, proto === 'tcp' ? 'connected' : 'answered', id),
    };
    const said = { request: seen.request === null ? null : expected.request, reply: expected.reply };
    const isRiddle = !isUnknowable && expected.outcomes.some((outcome) => outcome.verdict === 'unknown');
    const agree = said.request === seen.request && said.reply === seen.reply && !isRiddle;
    return agree ? [] : [{ probe: id, said, seen, outcomes: expected.outcomes, rules: printed }];
  });
}

/** The rules that eat something for certain and wholly, as the walk says, of all probes of a run; sorted. */
function named(tables: readonly Table[], run: string): string[] {
  const walk = createWalk(tables);
  const outcomes = probesOf(run).flatMap((probe) => expectationOf(walk, probe).outcomes);
  const eaters = outcomes.filter(({ verdict, partial }) => (verdict === 'drop' || verdict === 'reject') && !partial);
  return [...new Set(eaters.flatMap(({ rule }) => (rule === null || rule.policy ? [] : [`${rule.chain} ${rule.text}`])))].sort();
}

/** The rules that drop or reject and have counted a packet; sorted. */
function counted(tables: readonly Table[]): string[] {
  const rules = tables.flatMap(({ chains }) =>
    chains.flatMap(({ name, rules: own }) => own.map((rule) => ({ ...rule, chain: name }))),
  );
  const eats = (steps: readonly Step[]): boolean =>
    steps.some((step) => step.do === 'verdict' && (step.verdict.kind === 'drop' || step.verdict.kind === 'reject'));
  return rules
    .filter(({ packets, steps }) => (packets ?? 0) > 0 && eats(steps))
    .map(({ chain, text }) => `${chain} ${text}`)
    .sort();
}

const options = { timeout: 60_000, skip: missing !== undefined };

/** As people write them. `test.for` runs each in both kinds of iptables. */
const IPTABLES_TRIALS: readonly Trial[] = [
  {
    name: 'in raw and mangle, by lists of ports',
    text: `*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 7001 -j DROP
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A FORWARD -p tcp -m multiport --dports 22,7002:7003 -j DROP
-A INPUT -p tcp -m multiport ! --dports 22,7001 -j DROP
-A POSTROUTING -o eth0 -p icmp -j DROP
COMMIT
`,
  },
  {
    name: 'a goto does not come back, what stands behind it is never asked',
    text: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:LISTED - [0:0]
:DENY - [0:0]
-A FORWARD -p tcp -g LISTED
-A FORWARD -p udp -j LISTED
-A FORWARD -p udp -m udp --dport 7003 -j DROP
-A FORWARD -p tcp -j REJECT --reject-with tcp-reset
-A INPUT -p udp -g DENY
-A INPUT -j ACCEPT
-A LISTED -p tcp -m tcp --dport 7001 -g DENY
-A LISTED -p udp -m udp --dport 7002 -j DENY
-A LISTED -j RETURN
-A DENY -m comment --comment "the last word" -j DROP
COMMIT
`,
  },
  {
    name: 'connections that stand are accepted before what is dropped',
    text: `*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 7001 --tcp-flags FIN,SYN,RST,ACK SYN -j DROP
-A INPUT -i br0 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack ! --ctstate NEW -j DROP
-A FORWARD -p udp -m udp --dport 7001:7002 -j REJECT --reject-with icmp-port-unreachable
-A FORWARD -s 10.1.0.0/24 -d 10.1.0.0/24 -m conntrack --ctstate NEW -j DROP
COMMIT
`,
  },
  {
    name: 'every device but one',
    text: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT ! -i eth0 -p tcp -m tcp --dport 7001 -j DROP
-A INPUT ! -i br+ -p udp -m udp --sport 7002 -j DROP
-A FORWARD ! -i br+ -o br0 -p udp -m udp --sport 7003 -j DROP
-A FORWARD ! -s 10.2.0.0/24 ! -d 10.2.0.0/24 -j DROP
-A OUTPUT ! -o lo ! -d 10.1.0.0/24 -p tcp -m tcp --dport 7003 -j REJECT --reject-with tcp-reset
COMMIT
`,
  },
  {
    name: 'over a rate that nobody reaches, or by who came before',
    unknowable: true,
    text: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p udp -m hashlimit --hashlimit-above 1000/sec --hashlimit-burst 1000 --hashlimit-mode srcip --hashlimit-name a -j DROP
-A FORWARD -p tcp -m connlimit --connlimit-above 1000 --connlimit-mask 32 --connlimit-saddr -j REJECT --reject-with tcp-reset
-A INPUT -m recent --rcheck --name nobody --mask 255.255.255.255 --rsource -j DROP
COMMIT
`,
  },
];

const NFT_TRIALS: readonly Trial[] = [
  {
    name: 'named sets and verdict maps, of ranges, pairs and everything else',
    text: `table inet fw {
  set closed { type inet_service; flags interval; elements = { 22, 7002-7003 } }
  set people { type ipv4_addr; flags timeout; elements = { 10.1.0.3 timeout 1h comment "peer" } }
  map ports { type inet_service : verdict; elements = { 7001 : jump first, 7003 : drop } }
  map ways { type ifname . inet_service : verdict; elements = { "br0" . 7002 : goto first, "eth0" . 7003 : drop } }
  map blocks { typeof ip daddr . tcp dport : verdict; flags interval; elements = { 10.2.0.0/24 . 7001 : accept, * : jump second } }
  chain first {
    counter drop
  }
  chain second {
    ip saddr 10.1.0.0/24 ip daddr 10.2.0.0/24 tcp dport @closed counter drop
  }
  chain input {
    type filter hook input priority 0; policy accept;
    tcp dport vmap @ports
    udp dport != @closed counter drop
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname . udp dport vmap @ways
    ip daddr . tcp dport vmap @blocks
    ip daddr @people counter drop
  }
  chain output {
    type filter hook output priority 0; policy accept;
    meta l4proto { tcp, udp } th dport 7002 counter reject
  }
}
`,
  },
  {
    name: 'before tracking, and by bits of its state',
    text: `table ip early {
  chain raw {
    type filter hook prerouting priority raw; policy accept;
    ct state invalid udp dport 7001 counter drop
    ct state new counter drop
    iifname != { "eth0", "br0" } counter drop
  }
  chain mangle {
    type filter hook forward priority mangle; policy accept;
    ct state vmap { established : accept, related : accept, invalid : drop }
    tcp flags & (fin | syn | rst | ack) == syn tcp dport { 7002, 7003 } counter drop
    ct state != established ip protocol icmp counter drop
  }
}
`,
  },
  {
    name: 'over a rate or number that nobody reaches',
    unknowable: true,
    text: `table inet fw {
  set many { type ipv4_addr; flags dynamic; size 1024; }
  set fast { type ipv4_addr; flags dynamic; size 1024; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    meta l4proto tcp add @many { ip saddr ct count over 1000 } counter reject
    meta l4proto udp update @fast { ip saddr limit rate over 1000/second burst 1000 packets } counter drop
    icmp type echo-request limit rate over 1000/second burst 1000 packets counter drop
  }
  chain input {
    type filter hook input priority 0; policy accept;
    quota over 100 mbytes counter drop
    ct count over 1000 counter drop
  }
}
`,
  },
];

const TOOLS = { legacy: 'iptables-legacy', 'iptables-nft': 'iptables-nft' } as const;

describe.each(Object.keys(TOOLS) as (keyof typeof TOOLS)[])('with %s', (system) => {
  test.for(IPTABLES_TRIALS)('$name', options, async ({ name, text, unknowable = false }) => {
    const read = async () => {
      const printed = await must(stage.run('router', [`${TOOLS[system]}-save`, '-c']));
      return { tables: parseIptablesSave(printed, system).tables, printed };
    };
    const run = `${system}-${name.replaceAll(' ', '-')}`;
    const found = await disagreements(run, unknowable, async () => {
      await must(stage.run('router', [`${TOOLS[system]}-restore`], text));
      return read();
    });
    const { tables } = await read();
    await must(stage.run('router', [`${TOOLS[system]}-restore`], NO_RULES));
    expect({ found, named: named(tables, run) }).toEqual({ found: [], named: counted(tables) });
    expect(named(tables, run).length > 0).toBe(!unknowable);
  });
});

test.for(NFT_TRIALS)('with nft: $name', options, async ({ name, text, unknowable = false }) => {
  const read = async () => {
    const printed = await must(stage.run('router', ['nft', '-j', 'list', 'ruleset']));
    return { tables: parseNft(printed), printed: await must(stage.run('router', ['nft', 'list', 'ruleset'])) };
  };
  const run = `nft-${name.replaceAll(' ', '-')}`;
  const found = await disagreements(run, unknowable, async () => {
    await must(stage.run('router', ['nft', '-f', '-'], `flush ruleset\n${text}`));
    return read();
  });
  const { tables } = await read();
  await must(stage.run('router', ['nft', 'flush', 'ruleset']));
  const eaters = named(tables, run);
  // Only rules with a counter can be compared; drops of maps have none.
  expect({ found, named: eaters.filter((rule) => rule.includes('counter')) }).toEqual({ found: [], named: counted(tables) });
  expect(eaters.length > 0).toBe(!unknowable);
});

test.for(seeds)('iptables-legacy and the walk agree (seed %i)', options, async (seed) => {
  expect(await iptablesDisagreements('legacy', seed)).toEqual([]);
});

test.for(seeds)('iptables-nft and the walk agree (seed %i)', options, async (seed) => {
  expect(await iptablesDisagreements('iptables-nft', seed)).toEqual([]);
});

async function iptablesDisagreements(system: 'legacy' | 'iptables-nft', seed: number): Promise<Disagreement[]> {
  const tool = system === 'legacy' ? 'iptables-legacy' : 'iptables-nft';
  const rules = randomIptables(createRandom(seed * 3 + (system === 'legacy' ? 0 : 1)));
  const found = await disagreements(`${system}-${seed}`, rules.unknowable, async () => {
    await must(stage.run('router', [`${tool}-restore`], rules.text));
    const printed = await must(stage.run('router', [`${tool}-save`, '-c']));
    return { tables: parseIptablesSave(printed, system).tables, printed };
  });
  await must(stage.run('router', [`${tool}-restore`], NO_RULES));
  return found;
}

const NO_RULES = ['raw:PREROUTING OUTPUT', 'mangle:PREROUTING INPUT FORWARD OUTPUT POSTROUTING', 'filter:INPUT FORWARD OUTPUT']
  .map((line) => line.split(':', 2))
  .map(
    ([table, chains = '']) =>
      `*${table}\n${chains
        .split(' ')
        .map((chain) => `:${chain} ACCEPT [0:0]\n`)
        .join('')}COMMIT\n`,
  )
  .join('');

test.for(seeds)('native nftables and the walk agree (seed %i)', options, async (seed) => {
  const rules = randomNft(createRandom(seed * 3 + 2));
  const found = await disagreements(`nft-${seed}`, rules.unknowable, async () => {
    await must(stage.run('router', ['nft', '-f', '-'], `flush ruleset\n${rules.text}`));
    const printed = await must(stage.run('router', ['nft', '-j', 'list', 'ruleset']));
    return { tables: parseNft(printed), printed: await must(stage.run('router', ['nft', 'list', 'ruleset'])) };
  });
  await must(stage.run('router', ['nft', 'flush', 'ruleset']));
  expect(found).toEqual([]);
});

test.for(seeds)('all three systems at once and the walk agree (seed %i)', options, async (seed) => {
  const random = createRandom(seed * 7919);
  const [legacy, iptablesNft, nft] = [randomIptables(random), randomIptables(random), randomNft(random)];
  const isUnknowable = legacy.unknowable || iptablesNft.unknowable || nft.unknowable;
  const found = await disagreements(`all-${seed}`, isUnknowable, async () => {
    await must(stage.run('router', ['nft', '-f', '-'], `flush ruleset\n${nft.text}`));
    await must(stage.run('router', ['iptables-legacy-restore'], legacy.text));
    await must(stage.run('router', ['iptables-nft-restore'], iptablesNft.text));
    const printed = {
      legacy: await must(stage.run('router', ['iptables-legacy-save', '-c'])),
      iptablesNft: await must(stage.run('router', ['iptables-nft-save', '-c'])),
      nft: await must(stage.run('router', ['nft', '-j', 'list', 'ruleset'])),
    };
    const tables = [
      ...parseIptablesSave(printed.legacy, 'legacy').tables,
      ...joinTables(parseIptablesSave(printed.iptablesNft, 'iptables-nft'), parseNft(printed.nft)),
    ];
    return { tables, printed: Object.values(printed).join('\n') };
  });
  await must(stage.run('router', ['iptables-legacy-restore'], NO_RULES));
  await must(stage.run('router', ['nft', 'flush', 'ruleset']));
  expect(found).toEqual([]);
});
