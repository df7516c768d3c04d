import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { CHECKS } from '../src/checks/index.ts';
import type { Check, Readings } from '../src/checks/kit/check.ts';
import { heardKey, probeKey, readingMoments } from '../src/diagnosis/tasks.ts';
import { Bundle } from '../src/model/bundle.ts';
import type { Evidence } from '../src/model/evidence.ts';
import { nearNames } from '../src/model/near-names.ts';
import type { Probe } from '../src/model/probe.ts';
import { messageOf } from '../src/model/text.ts';
import type { RunRequest } from '../src/model/verdict.ts';
import { DnsPairsOutcome, ExchangeOutcome, SendOutcome } from '../src/model/wire/agent.ts';
import { diagnoseLab } from '../test/e2e/diagnose.ts';
import type { At } from '../test/lab/faults/fault.ts';
import { describePlace, FAULTS } from '../test/lab/faults/index.ts';
import { createLab, type Lab } from '../test/lab/lab.ts';
import type { NetworkKind } from '../test/lab/topology.ts';

/*
 * Captures the fixtures of checks: puts faults into a lab, runs the whole diagnosis and keeps of its evidence what a check
 * reads. A case is written only when the verdict names what the faults say that it must.
 *
 *   scripts/setup node scripts/capture-fixtures.ts [CHECK …]
 */

const ROOT = join(import.meta.dirname, '..');

type Placed = { readonly fault: string; readonly at: Partial<At> };

/** The lists of the inventory that are left out of a case unless its check looks at them. */
const LISTED = ['pods', 'services', 'endpoints', 'policies', 'namespaces', 'webhooks', 'warnings'] as const;
type Listed = (typeof LISTED)[number];

/**
 * What a check is captured with: the kinds of probes, the objects and ConfigMaps it looks at, the namespaces whose pods it
 * does where not all are needed, the kind of lab (flannel's vxlan without it), its cases. `recorded` are cases that no lab
 * can show: they stay as they are, and the readme says where they come from.
 */
type Captured = {
  readonly probes?: readonly string[];
  readonly objects?: readonly Listed[];
  readonly configs?: readonly string[];
  readonly pods?: readonly string[];
  readonly network?: NetworkKind;
  readonly cases: Readonly<Record<string, readonly Placed[]>>;
  readonly recorded?: Readonly<Record<string, string>>;
};

const on = (fault: string): readonly Placed[] => [{ fault, at: { node: 'node-2' } }];
const between = (fault: string): readonly Placed[] => [{ fault, at: { node: 'node-2', peer: 'node-3' } }];

/** The neighbour table is one for all network namespaces of a machine: filled in a lab, it would cut the machine off. */
const USER_MODE =
  'recorded in a machine of its own, a user-mode Linux 6.1.176 with iproute2 6.1.0, as the readings of `node-2`, whose own two neighbours answered:';

/** Every check that has a `bundle.json` for each case. The checks of packet filters have a form of their own. */
const TABLE: Readonly<Record<string, Captured>> = {
  'ip-forward-off': {
    cases: {
      healthy: [],
      'at-run-time': on('ip-forward-off'),
      'by-file': on('ip-forward-off-by-file'),
      'one-interface': on('forwarding-off-on-interface'),
    },
  },
  'stale-neighbour': {
    cases: {
      healthy: [],
      learnt: between('stale-neighbour'),
      permanent: between('stale-neighbour-permanent'),
    },
  },
  'neighbour-table-full': {
    cases: { healthy: [], unresolved: on('neighbours-unresolved') },
    recorded: {
      pressure: `${USER_MODE} one namespace asked for 600 addresses again and again`,
      refused: `${USER_MODE} one namespace asked for 9,000 addresses again and again`,
    },
  },
  'neighbour-table-was-full': { cases: { healthy: [], 'minutes-ago': on('neighbour-table-was-full') } },
  'bridge-netfilter-off': {
    probes: ['pod-to-service-on-node'],
    objects: ['services'],
    cases: { healthy: [], 'with-a-server': on('bridge-netfilter-off') },
  },
  'kube-rules-twice': {
    objects: ['services', 'endpoints'],
    cases: { healthy: [], 'stale-first': on('kube-rules-stale'), alike: on('kube-rules-twice') },
  },
  'webhook-unreachable': {
    probes: ['api-server-to-webhook', 'node-to-node', 'node-to-pod'],
    objects: ['services', 'endpoints', 'webhooks', 'warnings'],
    network: 'host-gw',
    cases: {
      healthy: [],
      blocked: between('webhook-blocked'),
      refused: between('webhook-refused'),
    },
  },
  'webhook-failing': {
    objects: ['services', 'endpoints', 'webhooks', 'warnings'],
    network: 'host-gw',
    cases: {
      healthy: [],
      'without-endpoints': between('webhook-without-endpoints'),
      'call-failed': on('webhook-call-failed'),
    },
  },
  'service-rules-stale': {
    objects: ['services', 'endpoints'],
    pods: ['kube-system'],
    cases: {
      healthy: [],
      missing: on('kubernetes-service-rules-missing'),
      stale: on('service-rules-stale'),
      'stale-nft': on('service-rules-stale-nft'),
    },
  },
  'security-software': {
    probes: ['node-to-node'],
    cases: { healthy: [], 'between-two-nodes': between('security-software') },
  },
  'address-conflict': {
    probes: ['node-to-node'],
    cases: { healthy: [], 'one-peer-misled': between('address-conflict') },
  },
  'peer-entries-wrong': {
    cases: {
      healthy: [],
      'fdb-missing': between('flannel-fdb-missing'),
      'fdb-stale': between('flannel-fdb-stale'),
      'neighbour-missing': between('flannel-neighbour-missing'),
      'neighbour-stale': between('flannel-neighbour-stale'),
      'route-missing': between('flannel-route-missing'),
      'route-stale': between('flannel-route-stale'),
    },
  },
  'vxlan-settings-mismatch': {
    configs: ['kube-flannel/kube-flannel-cfg', 'kube-system/kube-flannel-cfg'],
    cases: {
      healthy: [],
      'another-vni': on('vxlan-vni-mismatch'),
      'another-port': on('vxlan-port-mismatch'),
      'port-taken': on('vxlan-port-taken'),
      'device-down': on('vxlan-device-down'),
    },
  },
  'flannel-not-running': {
    configs: ['kube-flannel/kube-flannel-cfg'],
    pods: ['kube-flannel'],
    cases: {
      healthy: [],
      'after-a-reboot': on('flannel-not-running'),
      'no-pod': on('flannel-pod-missing'),
      'subnet-missing': on('flannel-subnet-missing'),
      'subnet-wrong': on('flannel-subnet-wrong'),
      'network-mismatch': [{ fault: 'flannel-network-mismatch', at: {} }],
    },
  },
  'public-address-wrong': {
    probes: ['node-to-pod-network'],
    pods: ['kube-flannel'],
    cases: {
      healthy: [],
      'wrong-interface': on('flannel-wrong-interface'),
      foreign: on('flannel-public-ip-foreign'),
      duplicate: between('flannel-public-ip-duplicate'),
    },
  },
  'vtep-mac-wrong': {
    pods: ['kube-flannel'],
    cases: {
      healthy: [],
      changed: on('flannel-vtep-mac-changed'),
      duplicate: between('flannel-vtep-mac-duplicate'),
    },
  },
  'nodes-disagree': {
    configs: ['kube-flannel/kube-flannel-cfg'],
    cases: { healthy: [], 'proxy-mode': on('proxy-mode-differs'), backend: on('flannel-backend-differs') },
  },
  'host-gw-route-wrong': {
    network: 'host-gw',
    pods: ['kube-flannel'],
    cases: { healthy: [], 'route-missing': between('host-gw-route-missing'), 'peer-off-link': on('host-gw-peer-off-link') },
  },
  'vxlan-checksum-wrong': {
    probes: ['node-to-pod-network'],
    cases: { healthy: [], 'from-a-node': on('vxlan-checksum-wrong') },
  },
  'cloud-drops-pods': {
    probes: ['node-to-node', 'node-to-pod-network', 'pod-to-pod'],
    network: 'kubenet',
    cases: {
      healthy: [],
      'route-missing': on('cloud-route-missing'),
      'source-check': on('cloud-source-check'),
    },
  },
  'vxlan-port-blocked': {
    probes: ['node-to-node', 'node-to-pod-network'],
    cases: {
      healthy: [],
      'to-and-from-a-node': on('vxlan-port-blocked'),
      'one-way': between('vxlan-port-blocked-one-way'),
      'between-two-nodes': [
        { fault: 'vxlan-port-blocked-one-way', at: { node: 'node-2', peer: 'node-3' } },
        { fault: 'vxlan-port-blocked-one-way', at: { node: 'node-3', peer: 'node-2' } },
      ],
    },
  },
  'path-mtu-black-hole': {
    probes: ['full-size-packets', 'node-to-node', 'pod-to-pod'],
    cases: { healthy: [], 'at-a-node': on('path-mtu-black-hole') },
  },
  'dns-server-error': {
    probes: ['cluster-dns'],
    objects: ['services'],
    pods: ['kube-system'],
    cases: { healthy: [], servfail: on('coredns-servfail'), refused: on('coredns-refused'), nxdomain: on('coredns-nxdomain') },
  },
  'dns-fails-across-nodes': {
    probes: ['cluster-dns'],
    objects: ['services'],
    cases: { healthy: [], 'one-node-cut-off': on('vxlan-port-blocked') },
  },
  'route-leads-astray': {
    probes: ['node-to-node', 'node-to-pod-network', 'pod-to-pod'],
    cases: {
      healthy: [],
      'blackhole-route': between('blackhole-route'),
      'policy-rule': between('policy-rule-steals'),
      'container-network': on('container-network-steals'),
    },
  },
  'pod-cidr-overlap': { cases: { healthy: [], 'one-inside-another': between('pod-cidr-overlap') } },
  'network-manager-interferes': {
    cases: { healthy: [], networkmanager: between('networkmanager-took-route'), networkd: between('networkd-took-route') },
  },
  'rp-filter-drops': { probes: ['node-to-node'], cases: { healthy: [], strict: between('rp-filter-strict') } },
  'uplink-trouble': {
    probes: ['kubernetes-service'],
    objects: ['services'],
    cases: {
      healthy: [],
      down: on('interface-down'),
      'no-carrier': on('carrier-lost'),
      'dropped-packets': on('switch-port-mtu'),
    },
  },
  'default-route-missing': {
    probes: ['kubernetes-service', 'cluster-dns'],
    objects: ['services'],
    cases: { healthy: [], missing: on('default-route-missing') },
  },
  'mtu-too-large': {
    cases: { healthy: [], 'smaller-uplink': on('uplink-mtu-smaller'), 'larger-uplink': on('uplink-mtu-larger') },
  },
  'bridge-down': { cases: { healthy: [], down: on('bridge-down') } },
  'conntrack-pressure': {
    probes: ['node-to-node', 'kubernetes-service', 'dns-pair'],
    cases: {
      healthy: [],
      full: on('conntrack-table-full'),
      'nearly-full': on('conntrack-table-nearly-full'),
      'insert-failed': on('nat-ports-exhausted'),
      'dns-pairs': on('dns-pair-race'),
    },
  },
  'conntrack-was-full': {
    cases: { healthy: [], 'minutes-ago': on('conntrack-table-nearly-full') },
  },
  'nat-ports-exhausted': {
    probes: ['kubernetes-service'],
    cases: { healthy: [], exhausted: on('nat-ports-exhausted'), nearly: on('nat-ports-nearly-exhausted') },
  },
  'stale-udp-conntrack': {
    objects: ['pods', 'services', 'endpoints'],
    cases: { healthy: [], 'gone-endpoint': on('stale-udp-conntrack') },
  },
  'listen-queue-overflow': { cases: { healthy: [], full: between('listen-queue-full') } },
  'port-ranges-overlap': {
    objects: ['services'],
    pods: ['kube-system'],
    cases: { healthy: [], 'local-ports': on('local-ports-overlap'), 'masquerade-agent': on('masquerade-agent-random') },
  },
  'node-slow': {
    cases: { healthy: [], stolen: on('cpu-stolen'), clock: on('clock-wrong') },
    recorded: {
      dropped:
        'nothing is wrong, but for the queues of `node-2`: those of a machine of its own, a user-mode Linux 6.1.176 with `netdev_max_backlog` 10, before and after a TCP stream of 20 MB between two namespaces without segmentation offload',
    },
  },
  'timestamps-rejected': { cases: { healthy: [], rejected: between('timestamps-rejected') } },
  'upstream-dns-fails': {
    probes: ['upstream-dns', 'pod-to-outside'],
    configs: ['kube-system/coredns'],
    cases: {
      healthy: [],
      silent: [{ fault: 'upstream-dns-silent', at: {} }],
      servfail: [{ fault: 'upstream-dns-servfail', at: {} }],
      'another-resolver': on('node-resolvers-differ'),
    },
  },
  'egress-fails': {
    probes: ['upstream-dns', 'pod-to-outside', 'kubernetes-service'],
    cases: {
      healthy: [],
      'rule-missing': on('masquerade-rule-missing'),
      'left-out': on('masquerade-excluded'),
      'a-node-alone': on('node-outside-unreachable'),
    },
  },
  'coredns-unavailable': {
    objects: ['services', 'endpoints'],
    pods: ['kube-system'],
    configs: ['kube-system/coredns'],
    cases: {
      healthy: [],
      crashing: on('coredns-crashing'),
      loop: on('coredns-loop'),
      'no-endpoints': [{ fault: 'dns-no-endpoints', at: {} }],
      alone: [{ fault: 'coredns-alone', at: {} }],
      'one-node': [{ fault: 'coredns-on-one-node', at: {} }],
    },
  },
  'node-local-dns-fails': {
    pods: ['kube-system'],
    cases: {
      healthy: [{ fault: 'node-local-dns', at: {} }],
      down: on('node-local-dns-down'),
      bypassed: on('node-local-dns-bypassed'),
    },
  },
  'icmp-filtered': {
    probes: ['node-to-node', 'node-to-pod-network', 'pod-to-gateway'],
    cases: { healthy: [], 'on-every-node': [{ fault: 'icmp-filtered', at: {} }] },
  },
  'port-not-listening': {
    probes: ['named-pod'],
    objects: ['pods', 'endpoints', 'services'],
    cases: {
      healthy: [],
      'no-process': on('port-not-listening'),
      loopback: on('listens-on-loopback-only'),
      declared: on('declared-port-not-listening'),
      coredns: on('coredns-down'),
    },
  },
  'leftover-process': { objects: ['pods'], cases: { healthy: [], 'in-a-pod': on('leftover-process') } },
  'accept-queue-overflow': { objects: ['pods'], cases: { healthy: [], 'never-accepts': on('accept-queue-overflow') } },
  'pod-resolver-wrong': {
    probes: ['named-pod'],
    objects: ['pods', 'services'],
    cases: {
      healthy: [],
      'name-server': on('pod-nameserver-wrong'),
      search: on('pod-search-wrong'),
      'host-network': on('host-network-dns-policy'),
    },
  },
  'pod-detached': {
    objects: ['pods'],
    cases: {
      healthy: [],
      'link-down': on('pod-link-down'),
      'off-bridge': on('pod-off-bridge'),
      'neighbour-stale': on('pod-neighbour-stale'),
      'mac-elsewhere': on('pod-mac-elsewhere'),
    },
  },
  'pod-routes-wrong': {
    objects: ['pods'],
    cases: {
      healthy: [],
      'another-address': on('pod-address-missing'),
      'no-default-route': on('pod-default-route-missing'),
      'wrong-gateway': on('pod-gateway-wrong'),
      'not-on-node': on('pod-route-missing'),
    },
  },
  'endpoint-outdated': {
    objects: ['pods', 'services', 'endpoints'],
    cases: { healthy: [], 'no-pod': on('endpoint-without-pod'), deleted: on('endpoint-of-terminating-pod') },
  },
  'rollout-hazards': {
    probes: ['named-pod'],
    objects: ['pods', 'services', 'endpoints'],
    cases: {
      healthy: [],
      rolling: on('endpoint-of-terminating-pod'),
      named: on('named-pod-refuses'),
      grace: [{ fault: 'grace-shorter-than-pre-stop', at: {} }],
    },
  },
  'kubelet-probe-failing': { objects: ['pods', 'warnings'], cases: { healthy: [], 'timed-out': on('kubelet-probe-failing') } },
  'policy-mistaken': {
    objects: ['pods', 'services', 'endpoints', 'policies', 'namespaces'],
    cases: {
      healthy: [],
      'service-port': [{ fault: 'network-policy-names-service-port', at: {} }],
      slip: [{ fault: 'network-policy-selects-nothing', at: {} }],
      'no-such-label': [{ fault: 'network-policy-peer-matches-nothing', at: {} }],
    },
  },
  'policy-denies': {
    probes: ['node-to-pod', 'pod-to-pod'],
    objects: ['pods', 'policies'],
    cases: {
      healthy: [],
      denied: [{ fault: 'network-policy-denies-probes', at: {} }],
      open: [{ fault: 'network-policy-not-enforced', at: {} }],
    },
  },
};

/** Captures all cases of the given checks, each in a lab of its kind; returns how many it wrote. */
async function capture(names: readonly string[]): Promise<number> {
  let count = 0;
  for (const [network, group] of Map.groupBy(names, (name) => TABLE[name]?.network ?? 'vxlan')) {
    const lab = await createLab({ nodes: 3, network });
    try {
      count += await captureIn(lab, group);
    } finally {
      await lab.down();
    }
  }
  return count;
}

async function captureIn(lab: Lab, names: readonly string[]): Promise<number> {
  let count = 0;
  const bundles = new Map<string, Bundle>();
  for (const name of names) {
    const found = Object.entries(CHECKS).find(([, { id }]) => id === name);
    const captured = TABLE[name];
    if (found === undefined || captured === undefined) throw new Error(`there is no check ${name}`);
    const [folder, check] = found;
    const fixtures = join(ROOT, 'src/checks', folder, 'fixtures');
    for (const title of existsSync(fixtures) ? readdirSync(fixtures) : [])
      if (captured.recorded?.[title] === undefined) rmSync(join(fixtures, title), { recursive: true });
    for (const [title, placed] of Object.entries(captured.cases)) {
      const key = JSON.stringify(placed);
      const whole = bundles.get(key) ?? (await diagnoseAgain(lab, placed));
      bundles.set(key, whole);
      write(join(fixtures, title), 'bundle.json', formatted(trimmed(whole, check, captured)));
      count += 1;
    }
    write(fixtures, 'readme.md', readme(captured));
  }
  return count;
}

/** On a busy machine a probe may starve: what was not told as it should be is tried again. */
async function diagnoseAgain(lab: Lab, placed: readonly Placed[]): Promise<Bundle> {
  for (let left = 2; left > 0; left -= 1) {
    try {
      return await diagnoseWith(lab, placed);
    } catch (error) {
      process.stderr.write(`once more: ${messageOf(error)}\n`);
    }
  }
  return diagnoseWith(lab, placed);
}

/** Runs the diagnosis with the faults in the lab; throws unless every one of them is told as it should be. */
async function diagnoseWith(lab: Lab, placed: readonly Placed[]): Promise<Bundle> {
  process.stdout.write(`${placed.length === 0 ? 'healthy' : placed.map(({ fault }) => fault).join(', ')}\n`);
  const expected: string[] = [];
  let request: RunRequest | undefined;
  try {
    for (const { fault, at } of placed) {
      const put = await lab.fault(fault, at);
      request ??= FAULTS[fault]?.request?.(lab, put);
      const { codes = [], risks = [] } = FAULTS[fault]?.expects(lab, put) ?? {};
      expected.push(...codes.map(({ code }) => code), ...risks);
    }
    const { verdict, bundle } = await diagnoseLab(lab, request);
    const told = [...verdict.causes, ...verdict.risks].map(({ code }) => code);
    const missing = expected.filter((code) => !told.includes(code));
    const isHealthy = placed.length > 0 || verdict.status === 'healthy';
    if (missing.length > 0 || !isHealthy)
      throw new Error(
        `the verdict is "${verdict.headline}" with ${told.join(', ') || 'no finding'}; missing: ${missing.join(', ')}`,
      );
    return Bundle.parse(bundle);
  } finally {
    for (const { fault, at } of placed) await lab.heal(fault, at.node).catch(() => {});
  }
}

/**
 * What a check reads of a bundle: its own readings, the probes of the kinds that it looks at with their evidence, the
 * nodes, and the objects and ConfigMaps that it asks for.
 */
function trimmed(bundle: Bundle, check: Check, { probes: kinds = [], objects = [], configs = [], pods = [] }: Captured): Bundle {
  const probes = bundle.plan.probes.filter(({ check: kind }) => kinds.includes(kind));
  const places = new Map(bundle.plan.probes.map((probe, index) => [String(index), probes.indexOf(probe)]));
  const readings = Object.values(check.collect as Readings).flatMap((reading) => readingMoments(reading).map(({ key }) => key));
  return Bundle.parse({
    ...bundle,
    run: { ...bundle.run, cluster: 'lab' },
    inventory: {
      ...bundle.inventory,
      cluster: 'lab',
      apiServer: 'https://10.28.0.2:6443',
      ...Object.fromEntries(LISTED.filter((list) => !objects.includes(list)).map((list) => [list, []])),
      pods: bundle.inventory.pods.filter(({ namespace }) => objects.includes('pods') || pods.includes(namespace)),
      configs: Object.fromEntries(Object.entries(bundle.inventory.configs).filter(([name]) => configs.includes(name))),
    },
    plan: { ...bundle.plan, checks: [check.id], probes },
    evidence: bundle.evidence.map((node) => ({
      ...node,
      items: Object.fromEntries(
        Object.entries(node.items)
          .filter(([key]) => readings.includes(key) || probes.some((probe) => isOf(probe, node.node, key)))
          .map(([key, evidence]) => [key, readings.includes(key) ? evidence : retagged(key, evidence, places)]),
      ),
    })),
  });
}

/** Whether a piece of evidence of a node is that of a probe, at its sender or at the one who counts. */
function isOf(probe: Probe, node: string, key: string): boolean {
  return (probe.from.node === node && probeKey(probe) === key) || (probe.receiver === node && heardKey(probe) === key);
}

/**
 * Evidence of probes names them by their place in the plan: the places of those that are left, without the others. A
 * reply-by-reply account of fping is left out, since its summary is what counts.
 */
function retagged(key: string, evidence: Evidence, places: ReadonlyMap<string, number>): Evidence {
  const place = (tag: string): number => places.get(tag) ?? -1;
  const only = <T>(counts: Readonly<Record<string, T>>): Readonly<Record<string, T>> =>
    Object.fromEntries(Object.entries(counts).flatMap(([tag, count]) => (place(tag) < 0 ? [] : [[String(place(tag)), count]])));
  if (key.startsWith('ping') && evidence.argv.some((word) => /^-c\d/.test(word))) return { ...evidence, stdout: '' };
  if (evidence.exitCode !== 0 || evidence.truncated) return evidence;
  if (key.startsWith('exchange') || key.startsWith('dns pairs')) {
    const outcomes = z.array(z.union([ExchangeOutcome, DnsPairsOutcome])).parse(JSON.parse(evidence.stdout));
    const kept = outcomes.filter(({ id }) => place(id) >= 0).map((outcome) => ({ ...outcome, id: String(place(outcome.id)) }));
    return { ...evidence, stdout: JSON.stringify(kept) };
  }
  if (key.startsWith('send')) {
    const { sent, errors } = SendOutcome.parse(JSON.parse(evidence.stdout));
    return { ...evidence, stdout: JSON.stringify({ sent: only(sent), errors: only(errors) }) };
  }
  if (key.startsWith('heard'))
    return { ...evidence, stdout: JSON.stringify(only(SendOutcome.shape.sent.parse(JSON.parse(evidence.stdout)))) };
  return evidence;
}

function readme({ probes = [], objects = [], pods = [], network, cases, recorded = {} }: Captured): string {
  const kept = [...objects, ...(pods.length === 0 ? [] : [`pods in ${pods.join(', ')}`])];
  const version = (argv: readonly string[]): string => /[\d.]+\d/.exec(outputOf(argv))?.[0] ?? 'unknown';
  const kernel = /^\d+\.\d+/.exec(release())?.[0] ?? 'unknown';
  const rows = Object.entries(cases).map(([title, placed]) => {
    const what = placed.map(({ fault, at }) => {
      const known = FAULTS[fault];
      if (known === undefined) throw new Error(`there is no fault ${fault}`);
      return `${known.title} (\`${fault}\` ${describePlace(known, { node: '', peer: '', ...at })})`;
    });
    return `| \`${title}\` | ${what.join('; ') || 'nothing is wrong'} |`;
  });
  const probing = `
The probes are those of ${probes.map((kind) => `\`${kind}\``).join(', ')}, numbered anew, without fping's account of single replies.`;
  return `Written by \`scripts/capture-fixtures.ts\`. Each \`bundle.json\` is the evidence bundle of a real run in a lab of three nodes${network === undefined ? '' : ` (${network})`}
(Linux ${kernel}, iproute2 ${version(['ip', '-V'])}, fping ${version(['fping', '-v'])}), reduced to what this check reads: the Nodes and its own readings,
untouched. ${kept.length === 0 ? 'Pods, Services and everything else are left out.' : `Of the other objects there are: ${kept.join('; ')}.`}${probes.length === 0 ? '' : probing}

| case | what was done, with the lab's fault |
| --- | --- |
${[...rows, ...Object.entries(recorded).map(([title, source]) => `| \`${title}\` | ${source} |`)].join('\n')}
`;
}

function outputOf([command = '', ...args]: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', input, maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
  return stdout;
}

/** One line for what fits into one, as the formatter of the project has it. */
function formatted(bundle: Bundle): string {
  return outputOf(['biome', 'format', `--config-path=${ROOT}`, '--stdin-file-path=bundle.json'], JSON.stringify(bundle));
}

function write(folder: string, name: string, text: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), text);
}

const asked = process.argv.slice(2);
const wrong = asked.filter((name) => TABLE[name] === undefined);
if (wrong.length > 0) {
  const near = wrong.flatMap((name) => nearNames(name, Object.keys(TABLE)));
  process.stderr.write(
    `no fixtures are captured for ${wrong.join(', ')}; ${near.length > 0 ? `did you mean ${near.join(' or ')}?` : `there are ${Object.keys(TABLE).join(', ')}`}\n`,
  );
  process.exitCode = 3;
} else process.stdout.write(`${await capture(asked.length > 0 ? asked : Object.keys(TABLE))} cases captured\n`);
