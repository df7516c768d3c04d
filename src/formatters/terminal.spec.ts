import naughty from 'big-list-of-naughty-strings/blns.json' with { type: 'json' };
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readVerdict, VERDICTS } from '../../test/verdicts.ts';
import type { Verdict } from '../model/verdict.ts';
import { formatProgress, formatTerminal } from './terminal.ts';

const plain = (verdict: Verdict) => formatTerminal(verdict, { color: false, columns: 100 });

const GOLDEN: Readonly<Record<string, string>> = {
  'agent-missing': `? INCONCLUSIVE  lab · 5 nodes · 8.0 s
  Nothing fails as far as could be seen, but node-3 could not be looked at.

Layers  L2 ok  L3 unknown  L4 ok  DNS ok  L7 ok
5 nodes, 11 checks, 150 of 150 probes passed. Steady loss below 3 % on one path could have been
missed.

Not checked
  all checks of the node on node-3: no agent is running there (DaemonSet netcheck-agent: 5 of 6
  pods)
  probes from node-3 on node-3: no agent is running there`,
  'coredns-degraded': `▲ DEGRADED  lab · 6 nodes · 3.4 s
  One of two CoreDNS pods answers SERVFAIL; about half of all lookups fail.

Cause  DNS  kube-system/coredns-2  coredns-servfail
  kube-system/coredns-2 answers SERVFAIL to kubernetes.default.svc.cluster.local.
    node-1: dns 10.244.2.3 kubernetes.default.svc.cluster.local: rcode SERVFAIL, 2 ms
  Explains 6 of 6 failed probes.
  Look at the log of kube-system/coredns-2; deleting the pod replaces it.

Failed probes  6
  DNS  dns:node-1>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)
  DNS  dns:node-2>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)
  DNS  dns:node-3>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)
  DNS  dns:node-4>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)
  DNS  dns:node-5>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)
  DNS  dns:node-6>coredns-2: servfail, 1 of 1 (SERVFAIL in 2 ms)

Risks  true, but not what fails now
  ip-forward-file: node-4 forwards now, but /etc/sysctl.d/90-hardening.conf sets ip_forward to 0 at
  the next boot.

Layers  L2 ok  L3 ok  L4 ok  DNS fail  L7 ok
6 nodes, 11 checks, 180 of 192 probes passed, 6 denied by a NetworkPolicy as they should be. Every
planned check completed. Steady loss below 3 % on one path could have been missed.`,
  healthy: `✔ HEALTHY  lab · 6 nodes · 2.8 s
  The network is healthy: all 186 probes between 6 nodes passed.

Layers  L2 ok  L3 ok  L4 ok  DNS ok  L7 ok
6 nodes, 11 checks, 186 of 186 probes passed. Every planned check completed. Steady loss below 3 %
on one path could have been missed.`,
  'ip-forward-off': `✘ FAILED  lab · 6 nodes · 3.9 s
  node-2 does not forward packets: its pods are cut off from all other nodes.

Cause  L3  node-2  ip-forward-off
  node-2 does not forward IPv4: net.ipv4.ip_forward is 0, set by /etc/sysctl.d/90-hardening.conf.
    node-2: /proc/sys/net/ipv4/ip_forward: 0
    node-2: /etc/sysctl.d/90-hardening.conf: net.ipv4.ip_forward = 0
  Explains 15 of 15 failed probes.
  Correct /etc/sysctl.d/90-hardening.conf, or the setting returns at the next boot.
  Remedy  set-ip-forward on node-2

Failed probes  15
  L3   pod-ping:node-1>web-2: timeout, 0 of 2
  L3   pod-http:web-1>web-2: timeout, 0 of 3
  L3   pod-ping:web-2>web-1: timeout, 0 of 2
  L3   pod-ping:node-3>web-2: timeout, 0 of 2
  L3   pod-http:web-3>web-2: timeout, 0 of 3
  L3   pod-ping:web-2>web-3: timeout, 0 of 2
  L3   pod-ping:node-4>web-2: timeout, 0 of 2
  L3   pod-http:web-4>web-2: timeout, 0 of 3
  … and 7 more (--output json has all of them)

Layers  L2 ok  L3 fail  L4 ok  DNS unknown  L7 ok
6 nodes, 11 checks, 171 of 186 probes passed. Every planned check completed. Steady loss below 3 %
on one path could have been missed.`,
  'located-loss': `▲ DEGRADED  lab · 6 nodes · 9.9 s
  One packet in five from node-4 to node-6 is lost between the two nodes; the cause was not found.

Located  L3  cause not found
  Between node-4's eth0 and node-6's eth0: every packet, 20 % lost, one direction.
    node-4: eth0 sent 100 tagged packets, 0 errors
    node-6: counted 79 of 100
  Next: Ask whoever runs the switches for the error counters of node-4's and node-6's ports.

Failed probes  2
  L3   node-ping:node-4>node-6: timeout, 79 of 100
  L3   pod-ping:web-4>web-6: timeout, 82 of 100

Layers  L2 ok  L3 fail  L4 ok  DNS ok  L7 ok
6 nodes, 11 checks, 184 of 186 probes passed. Every planned check completed. Steady loss below 3 %
on one path could have been missed.`,
  'stale-neighbour': `✘ FAILED  node node-3 of lab · 6 nodes · 4.1 s
  node-3 sends packets for node-5 to a hardware address that node-5 does not have.

Cause  L2  node-3  stale-neighbour
  node-3's neighbour entry for 10.0.0.5 says 02:00:00:00:00:99, but node-5's eth0 is
  02:00:00:00:00:05.
    node-3: ip -j neigh: 10.0.0.5 dev eth0 lladdr 02:00:00:00:00:99 STALE
    node-5: ip -j link: eth0 02:00:00:00:00:05 UP
  Explains 3 of 3 failed probes.
  Remedy  flush-neighbour on node-3

Failed probes  3
  L2   node-ping:node-3>node-5: timeout, 0 of 2
  L2   tcp:node-3>node-5:10250: no-neighbour, 0 of 1
  L2   pod-ping:web-3>web-5: timeout, 0 of 2

Layers  L2 fail  L3 ok  L4 ok  DNS ok  L7 ok
6 nodes, 11 checks, 59 of 62 probes passed. Every planned check completed. Steady loss below 3 % on
one path could have been missed.`,
  'two-faults': `✘ FAILED  lab · 6 nodes · 5.5 s
  Two faults: node-3 has a stale neighbour entry for node-5, and node-2 does not forward packets.

Cause 1  L2  node-3  stale-neighbour
  node-3's neighbour entry for 10.0.0.5 says 02:00:00:00:00:99, but node-5's eth0 is
  02:00:00:00:00:05.
    node-3: ip -j neigh: 10.0.0.5 dev eth0 lladdr 02:00:00:00:00:99 PERMANENT
  Explains 1 of 6 failed probes.
  Remedy  flush-neighbour on node-3

Cause 2  L3  node-2  ip-forward-off
  node-2 does not forward IPv4: net.ipv4.ip_forward is 0, set by /etc/sysctl.d/90-hardening.conf.
    node-2: /proc/sys/net/ipv4/ip_forward: 0
    node-2: /etc/sysctl.d/90-hardening.conf: net.ipv4.ip_forward = 0
  Explains 5 of 6 failed probes.
  Correct /etc/sysctl.d/90-hardening.conf, or the setting returns at the next boot.
  Remedy  set-ip-forward on node-2

Failed probes  6
  L2   node-ping:node-3>node-5: timeout, 0 of 2
  L3   pod-ping:web-2>web-1: timeout, 0 of 2
  L3   pod-ping:web-2>web-3: timeout, 0 of 2
  L3   pod-ping:web-2>web-4: timeout, 0 of 2
  L3   pod-ping:web-2>web-5: timeout, 0 of 2
  L3   pod-ping:web-2>web-6: timeout, 0 of 2

Layers  L2 fail  L3 fail  L4 ok  DNS ok  L7 ok
6 nodes, 11 checks, 180 of 186 probes passed. Every planned check completed. Steady loss below 3 %
on one path could have been missed.`,
  'vxlan-blocked': `✘ FAILED  lab · 6 nodes · 5.2 s
  node-2 drops the overlay's packets (UDP 8472) as they arrive.

Cause  L4  node-2  vxlan-port-blocked
  A rule in table inet hardening, chain input of node-2 drops UDP port 8472.
    node-2: nft -j list ruleset: inet hardening input: udp dport 8472 counter packets 214 bytes 28890 drop
    node-2: counters: the rule counted 40 packets more after 40 were sent, 0 after a control of 40
  Explains 6 of 6 failed probes.

Failed probes  6
  L4   pod-ping:web-2>web-1: timeout, 0 of 2
  L4   dns:web-2>coredns-1: timeout, 0 of 1
  L4   pod-ping:web-2>web-3: timeout, 0 of 2
  L4   pod-ping:web-2>web-4: timeout, 0 of 2
  L4   pod-ping:web-2>web-5: timeout, 0 of 2
  L4   pod-ping:web-2>web-6: timeout, 0 of 2

Layers  L2 ok  L3 ok  L4 fail  DNS fail  L7 ok
6 nodes, 11 checks, 180 of 186 probes passed. Every planned check completed. Steady loss below 3 %
on one path could have been missed.`,
};

test('every recorded verdict has its golden text', () => {
  expect(Object.keys(GOLDEN).toSorted()).toEqual(VERDICTS);
});

test.each(VERDICTS)('%s', (name) => {
  expect(plain(readVerdict(name))).toBe(`${GOLDEN[name]}\n`);
});

test('several equally good explanations are said to be so', () => {
  expect(plain({ ...readVerdict('two-faults'), alternatives: [[0], [1]] })).toContain(
    '\n\nBy itself each of these would explain every symptom: cause 1, or cause 2. Mend one, then look again.\n\n',
  );
});

test.for([
  ['undetermined', ', 20 % lost, direction not determined.'],
  ['both', ', 20 % lost, both directions.'],
  ['outbound', ', 20 % lost, one direction.'],
  ['inbound', ', 20 % lost, one direction.'],
] as const)('a direction is stated only where it was measured: %s', ([direction, told]) => {
  const verdict = readVerdict('located-loss');
  const located = verdict.located.map((item) => ({ ...item, direction }));
  expect(plain({ ...verdict, located })).toContain(`every packet${told}\n`);
  expect(plain({ ...verdict, located: located.map((item) => ({ ...item, lossPercent: 100 })) })).toContain(
    `every packet${told.replace(', 20 % lost', '')}\n`,
  );
});

test('one is one', () => {
  const verdict = readVerdict('ip-forward-off');
  const checked = { ...verdict.checked, nodes: 1, checks: 1, probes: 1, passed: 0, missedLossPercent: null };
  const symptoms = verdict.symptoms.slice(0, 1);
  const causes = verdict.causes.map((cause) => ({ ...cause, explains: cause.explains.slice(0, 1) }));
  const lines = plain({ ...verdict, checked, symptoms, causes }).split('\n');
  expect(lines).toContain('✘ FAILED  lab · 1 node · 3.9 s');
  expect(lines).toContain('  Explains 1 of 1 failed probe.');
  expect(lines).toContain('1 node, 1 check, 0 of 1 probe passed. Every planned check completed.');
});

/** The verdict with every text that may come from outside replaced. */
function hostile(verdict: Verdict, text: string): Verdict {
  const fixed = new Set(['schema', 'kind', 'status', 'layer', 'severity', 'direction', 'how', 'startedAt']);
  const replaced = (value: unknown, key: string): unknown => {
    if (Array.isArray(value)) return value.map((item) => replaced(item, key));
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, key === 'layers' ? item : replaced(item, name)]),
      );
    return typeof value === 'string' && !fixed.has(key) ? text : value;
  };
  return replaced(verdict, '') as Verdict;
}

const FULL: Verdict = {
  ...readVerdict('coredns-degraded'),
  causes: readVerdict('two-faults').causes,
  located: readVerdict('located-loss').located,
  notChecked: readVerdict('agent-missing').notChecked,
  run: readVerdict('stale-neighbour').run,
};
const UNFOLDED = 1_000_000;
const LINES = formatTerminal(FULL, { color: false, columns: UNFOLDED }).split('\n').length;

/** Control characters, reordering and invisible ones; a line break only ends a line of ours. */
const UNSAFE = /[^\n\P{Cc}]|[\p{Cf}\p{Cs}\u2028\u2029]/u;

test('no hostile text brings a control character, reorders anything or begins a line of its own', () => {
  for (const text of [
    ...naughty,
    'a\n✔ HEALTHY  lab',
    'a\r✔ HEALTHY',
    '\u001b[2J\u001b[31mred',
    '\u009b31mred',
    '\u202Edesrever',
    'a\u2028b',
  ]) {
    const shown = formatTerminal(hostile(FULL, text), { color: false, columns: UNFOLDED });
    expect({ text, unsafe: UNSAFE.exec(shown), lines: shown.split('\n').length }).toEqual({
      text,
      unsafe: null,
      lines: LINES,
    });
  }
});

test('nor does any other text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
      const shown = formatTerminal(hostile(FULL, text), { color: false, columns: UNFOLDED });
      expect({ unsafe: UNSAFE.exec(shown), lines: shown.split('\n').length }).toEqual({ unsafe: null, lines: LINES });
    }),
  );
});

// oxlint-disable-next-line eslint/no-control-regex -- the sequences that colours are made of begin with one
const SGR = /\u001b\[(\d+)m/g;
const CLOSES: Readonly<Record<string, readonly string[]>> = { 22: ['1', '2'], 39: ['31', '32', '33', '34', '35', '36', '90'] };

test.each(VERDICTS)('colours change no text, and end on the line on which they begin: %s', (name) => {
  const verdict = readVerdict(name);
  const coloured = formatTerminal(verdict, { color: true, columns: 100 });
  expect(coloured).toMatch(SGR);
  expect(coloured.replace(SGR, '')).toBe(plain(verdict));
  for (const line of coloured.split('\n')) {
    const open: string[] = [];
    const wrong: string[] = [];
    for (const [, code = ''] of line.matchAll(SGR)) {
      const closes = CLOSES[code];
      if (closes === undefined) open.push(code);
      else if (!closes.includes(open.pop() ?? '')) wrong.push(code);
    }
    expect({ line, open, wrong }).toEqual({ line, open: [], wrong: [] });
  }
});

test('sentences are folded at the width of the terminal; what is quoted is not', () => {
  const verdict = readVerdict('two-faults');
  const narrow = formatTerminal(verdict, { color: false, columns: 60 });
  const quoted = verdict.causes.flatMap(({ evidence }) => evidence.map(({ text }) => text));
  const long = narrow.split('\n').filter((line) => line.length > 60 && !quoted.some((text) => line.includes(text)));
  expect(long).toEqual([]);
  const words = (text: string): string => text.replace(/\s+/g, ' ');
  expect(words(narrow)).toBe(words(plain(verdict)));
});

test('progress is one line', () => {
  const progress = { nodesReady: 4, nodesTotal: 6, layers: {} };
  expect(
    (['inventory', 'starting', 'sweep', 'focus', 'judging'] as const).map((phase) => formatProgress({ phase, ...progress })),
  ).toEqual([
    'reading the cluster …',
    'starting agents: 4 of 6 nodes …',
    'probing from 4 of 6 nodes …',
    'packets were lost: measuring again …',
    'judging …',
  ]);
});

test('what was found out about the cluster is one line, without its sources', () => {
  const detected = [
    { what: 'network', value: 'kubenet', source: 'the bridge cbr0' },
    { what: 'domain', value: 'cluster\u001b[31m.local', source: 'ConfigMap' },
  ] as const;
  const text = formatTerminal({ ...readVerdict('healthy'), detected: [...detected] }, { color: false, columns: 100 });
  expect(text.trimEnd().split('\n').at(-1)).toBe('Detected: kubenet, cluster[31m.local');
});
