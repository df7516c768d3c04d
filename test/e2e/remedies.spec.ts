import { randomUUID } from 'node:crypto';
import { totalmem } from 'node:os';
import { describe, expect, test } from 'vitest';
import { createKubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import { judge } from '../../src/diagnosis/judge.ts';
import type { Action, RemedyOutcome, RemedyPlan } from '../../src/model/remedy.ts';
import { REMEDIES } from '../../src/remedies/index.ts';
import { propose } from '../../src/remedies/propose.ts';
import { createRemediate } from '../../src/remedies/remediate.ts';
import { approved, makeAction, makeApprovalKeys } from '../action.ts';
import { readCase } from '../fixtures.ts';
import type { At } from '../lab/faults/fault.ts';
import { expectHealthy, snapshot } from '../lab/faults/healthy.ts';
import { FAULTS } from '../lab/faults/index.ts';
import type { Lab } from '../lab/lab.ts';
import { CLUSTER, type NetworkKind } from '../lab/topology.ts';
import { count } from '../promises/counts.ts';
import { diagnoseLab } from './diagnose.ts';
import { sharedLab } from './shared-lab.ts';

/*
 * Every remedy in a cluster that has what it mends: offered by a diagnosis, carried out by the node's own agent, healed;
 * taken back where that is promised, to the byte; and refused once there is nothing left to mend.
 */

type Commands = readonly (readonly string[])[];

/** A fault that a remedy mends, and what the remedy runs against it; `at` where it is not put where faults go by default. */
type Row = {
  readonly remedy: string;
  readonly fault: string;
  readonly code: string;
  readonly at?: Partial<At>;
  readonly network?: NetworkKind;
  /** Another fault for a remedy that has a row already: only `npm run test:promises` runs it. */
  readonly isMore?: true;
  /** False where the lab makes the symptom without what the remedy changes: it runs, and is told not to have helped. */
  readonly heals?: false;
  /** Why it is refused once the fault is gone; null where a lab's node has what it mends without the fault, too. */
  readonly obsolete: RegExp | null;
  readonly commands: (lab: Lab, at: At) => Commands | Promise<Commands>;
};

const DEFAULT_DENY = ['-m', 'comment', '--comment', 'default deny', '-j', 'REJECT', '--reject-with', 'icmp-host-prohibited'];

const ROWS: readonly Row[] = [
  {
    remedy: 'set-ip-forward',
    fault: 'ip-forward-off',
    code: 'ip-forward-off',
    obsolete: /forwarding is on already/,
    commands: () => [['sysctl', '-w', 'net/ipv4/ip_forward=1']],
  },
  {
    remedy: 'flush-neighbour',
    fault: 'stale-neighbour',
    code: 'stale-neighbour',
    obsolete: /there is no entry|has the MAC address .* by now/,
    commands: (lab, { peer }) => [['ip', 'neighbour', 'flush', 'to', lab.node(peer).ip, 'dev', 'eth0']],
  },
  {
    remedy: 'raise-conntrack-max',
    fault: 'conntrack-table-nearly-full',
    code: 'conntrack-table-nearly-full',
    // The machine's own limit is lower as well, and not the lab's to raise.
    obsolete: null,
    commands: () => {
      const max = Math.floor(totalmem() / 1024 / 32);
      return [
        [
          'write-file',
          '/etc/sysctl.d/99-netcheck-conntrack.conf',
          expect.stringContaining(`\nnet.netfilter.nf_conntrack_max = ${max}\n`),
        ],
        ['sysctl', '-w', `net/netfilter/nf_conntrack_max=${max}`],
      ];
    },
  },
  {
    remedy: 'set-rp-filter',
    fault: 'rp-filter-strict',
    code: 'rp-filter-drops',
    obsolete: /the filter of eth0 is off by now/,
    commands: () => [['sysctl', '-w', 'net/ipv4/conf/eth0/rp_filter=2']],
  },
  {
    remedy: 'set-bridge-netfilter',
    fault: 'bridge-netfilter-off',
    code: 'bridge-netfilter-off',
    obsolete: /iptables sees the frames by now/,
    commands: () => [['sysctl', '-w', 'net/bridge/bridge-nf-call-iptables=1']],
  },
  {
    remedy: 'set-local-port-range',
    fault: 'local-ports-overlap',
    code: 'local-ports-overlap-node-ports',
    obsolete: /connections get ports 32768 to 60999 by now/,
    commands: () => [['sysctl', '-w', 'net/ipv4/ip_local_port_range=32768 60999']],
  },
  {
    remedy: 'set-link-up',
    fault: 'bridge-down',
    code: 'bridge-down',
    obsolete: /cni0 is up already/,
    commands: () => [['ip', 'link', 'set', 'dev', 'cni0', 'up']],
  },
  {
    remedy: 'set-mtu',
    fault: 'uplink-mtu-smaller',
    code: 'overlay-mtu-too-large',
    obsolete: /the MTU of eth0 is 1500 by now, not 1400/,
    commands: () => [['ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1500']],
  },
  {
    remedy: 'set-mtu',
    fault: 'uplink-mtu-larger',
    isMore: true,
    code: 'mtu-differs',
    obsolete: /the MTU of eth0 is 1500 by now, not 9000/,
    commands: () => [['ip', 'link', 'set', 'dev', 'eth0', 'mtu', '1500']],
  },
  {
    remedy: 'disable-tx-checksum',
    fault: 'vxlan-checksum-wrong',
    code: 'vxlan-checksum-wrong',
    // It is the lab's switch that makes the checksums wrong.
    heals: false,
    obsolete: null,
    commands: () => [['ethtool', '-K', 'flannel.1', 'tx-checksum-ip-generic', 'off']],
  },
  {
    remedy: 'delete-filter-rule',
    fault: 'forward-reject-legacy',
    code: 'filter-rule-drops',
    obsolete: /FORWARD of table filter has no such rule any more/,
    commands: () => [['iptables-legacy', '-w', '5', '-t', 'filter', '-D', 'FORWARD', ...DEFAULT_DENY]],
  },
  {
    remedy: 'delete-filter-rule',
    fault: 'forward-reject-iptables-nft',
    isMore: true,
    code: 'filter-rule-drops',
    network: 'host-gw',
    obsolete: /FORWARD of table filter has no such rule any more/,
    commands: () => [['iptables-nft', '-w', '5', '-t', 'filter', '-D', 'FORWARD', ...DEFAULT_DENY]],
  },
  {
    remedy: 'delete-filter-rule',
    fault: 'forward-drop-nft',
    code: 'filter-rule-drops',
    obsolete: /cannot be read: .*No such file or directory/s,
    commands: () => [['nft', 'delete', 'rule', 'inet', 'hardening', 'forward', 'handle', '3']],
  },
  {
    remedy: 'delete-neighbour',
    fault: 'stale-neighbour-permanent',
    code: 'stale-neighbour',
    obsolete: /there is no permanent entry/,
    commands: (lab, { peer }) => [['ip', 'neighbour', 'delete', lab.node(peer).ip, 'dev', 'eth0']],
  },
  {
    remedy: 'delete-conntrack-entries',
    fault: 'stale-udp-conntrack',
    code: 'stale-udp-conntrack',
    obsolete: /no entry leads UDP packets/,
    commands: (lab, { node }) => {
      const filter = ['-p', 'udp', '--orig-dst', CLUSTER.dnsService, '--orig-port-dst', '53'];
      const gone = lab.node(node).bridgeIp.replace(/1$/, '199');
      return [['conntrack', '-D', ...filter, '--reply-src', gone, '--reply-port-src', '53']];
    },
  },
  {
    remedy: 'kill-process',
    fault: 'leftover-process',
    code: 'leftover-process',
    obsolete: /there is no process/,
    commands: () => [['end-process', expect.stringMatching(/^\d+$/), expect.stringMatching(/^\d+$/)]],
  },
  {
    remedy: 'stop-firewall',
    fault: 'foreign-firewall-firewalld',
    code: 'foreign-firewall',
    obsolete: /firewalld does not run any more/,
    commands: () => [['nsenter', '--target', '1', '--mount', '--', 'systemctl', 'stop', 'firewalld']],
  },
  {
    remedy: 'stop-firewall',
    fault: 'foreign-firewall-ufw',
    code: 'foreign-firewall',
    obsolete: /ufw does not run any more/,
    commands: () => [['nsenter', '--target', '1', '--mount', '--', 'ufw', 'disable']],
  },
  {
    remedy: 'delete-kube-rules',
    fault: 'kube-rules-stale',
    code: 'kube-rules-stale',
    obsolete: /has no such rule any more/,
    commands: () =>
      ['PREROUTING', 'OUTPUT'].map((chain) => [
        ...`iptables-legacy -w 5 -t nat -D ${chain} -m comment --comment`.split(' '),
        'kubernetes service portals',
        '-j',
        'KUBE-SERVICES',
      ]),
  },
  ...(
    [
      ['vxlan-port-mismatch', 'vxlan-port-mismatch'],
      ['flannel-not-running', 'flannel-not-running'],
      ['flannel-vtep-mac-changed', 'flannel-vtep-mac-changed'],
      ['flannel-fdb-missing', 'flannel-fdb-wrong'],
      ['flannel-route-missing', 'flannel-route-wrong'],
    ] as const
  ).map(
    ([fault, code]): Row => ({
      remedy: 'restart-flannel',
      fault,
      ...(fault === 'flannel-not-running' ? {} : { isMore: true }),
      code,
      obsolete: /has been replaced since/,
      commands: (lab, { node }) => restarts(lab, 'kube-flannel', [`kube-flannel-ds-${lab.node(node).index}`]),
    }),
  ),
  {
    remedy: 'restart-flannel-on-nodes',
    fault: 'vxlan-port-not-rolled-out',
    code: 'vxlan-port-mismatch',
    obsolete: /has been replaced since/,
    commands: (lab, { node }) =>
      restarts(
        lab,
        'kube-flannel',
        lab.topology.nodes.filter(({ name }) => name !== node).map(({ index }) => `kube-flannel-ds-${index}`),
      ),
  },
  ...(
    [
      ['move-flannel-port', { Type: 'vxlan', Port: 8475 }],
      ['set-flannel-host-gw', { Type: 'host-gw' }],
    ] as const
  ).map(
    ([remedy, backend]): Row => ({
      remedy,
      fault: 'vxlan-port-blocked',
      code: 'vxlan-port-blocked',
      // The fault lies in the network: once it is gone, the configuration is still what it was.
      obsolete: null,
      commands: async (lab) => {
        const { body } = await lab.api('GET', FLANNEL_CONFIG);
        const from = (body as { data: Record<string, string> }).data['net-conf.json'] ?? '';
        const to = JSON.stringify({ ...(JSON.parse(from) as object), Backend: backend }, null, 2);
        const patch = { metadata: { annotations: { 'netcheck.io/net-conf-before': from } }, data: { 'net-conf.json': to } };
        return [
          ['PATCH', FLANNEL_CONFIG, JSON.stringify(patch)],
          ['ROLL', 'daemonsets/kube-flannel/kube-flannel-ds', 'one node at a time, 90s each'],
        ];
      },
    }),
  ),
  {
    remedy: 'restart-kube-proxy',
    fault: 'service-rules-stale',
    code: 'service-rules-stale',
    obsolete: /has been replaced since/,
    commands: (lab, { node }) => restarts(lab, 'kube-system', [`kube-proxy-${lab.node(node).index}`]),
  },
];

const FLANNEL_CONFIG = '/api/v1/namespaces/kube-flannel/configmaps/kube-flannel-cfg';

/** What restarts these pods, as they are now. */
async function restarts(lab: Lab, namespace: string, pods: readonly string[]): Promise<Commands> {
  const each = await Promise.all(
    pods.map(async (pod) => {
      const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
      const { body } = await lab.api('GET', path);
      const { uid } = (body as { metadata: { uid: string } }).metadata;
      return [
        ['DELETE', path, JSON.stringify({ preconditions: { uid } })],
        ['WAIT', 'successor ready', '90s'],
      ];
    }),
  );
  return each.flat();
}

const STILL = 'it ran, and some of the probes that failed before still fail';
const NODES = 4;
/** A row is three diagnoses and as many acts, also on a machine that does much else. Milliseconds. */
const ROW_MS = 180_000;
const keys = makeApprovalKeys();

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('remedies in a lab', () => {
  const rows = ROWS.filter(({ isMore }) => isMore !== true || count(0, 1) > 0);
  const networks = [...new Set(rows.map(networkOf))];
  describe.each(networks)('with %s', (network) => {
    testRemedies(
      network,
      rows.filter((row) => networkOf(row) === network),
    );
  });
});

function networkOf({ network = 'vxlan' }: Row): NetworkKind {
  return network;
}

function testRemedies(network: NetworkKind, rows: readonly Row[]): void {
  const shared = sharedLab({ nodes: NODES, network, approvalKey: keys.publicKey }, expectHealthy);

  test.each(rows.map((row) => [row.remedy, row.fault, row] as const))(
    '%s mends %s',
    async (_remedy, _fault, row) => {
      const lab = shared();
      const isWhole = await state(lab);
      const at = await lab.fault(row.fault, row.at);
      const isBroken = await state(lab);
      const asked = await row.commands(lab, at);
      const plan = await offered(lab, row, at);
      expect(plan.commands).toEqual(asked);

      const action = actionOf(lab, plan);
      const outcome = await carriedOut(lab, action);
      const { status, headline, left } = await remains(lab, row, at);
      expect([outcome.outcome, outcome.reason, status, left], headline).toEqual(
        row.heals === false ? ['not-healed', STILL, 'failed', [row.code]] : ['healed', null, 'healthy', []],
      );

      const isUndone = REMEDIES[row.remedy]?.undo !== null;
      const undone = await takenBack(lab, action, outcome);
      expect(undone).toEqual(isUndone ? ['undone', null] : null);
      if (isUndone) await settled(lab, isBroken);

      await lab.heal(row.fault);
      await settled(lab, isWhole);
      const late = row.obsolete === null ? null : await carriedOut(lab, actionOf(lab, plan));
      expect(late?.outcome ?? 'refused').toBe('refused');
      expect(late?.reason ?? '').toMatch(row.obsolete ?? /^$/);
      expect(await state(lab)).toEqual(isWhole);
    },
    ROW_MS,
  );
}

/** The limits of the neighbour table are the whole machine's, and no node of a lab sees them: these are files of its own. */
const LIMITS = '/proc/sys/net/ipv4/neigh';

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('when a node does not come back', () => {
  const shared = sharedLab({ nodes: NODES, approvalKey: keys.publicKey });

  // The port that flannel is to be moved to is held on the third node by a process that has not been in the way so far.
  test(
    'move-flannel-port stops there, and brings back what it had changed by then',
    async () => {
      const lab = shared();
      const row = ROWS.find(({ remedy }) => remedy === 'move-flannel-port');
      if (row === undefined) throw new Error('there is no row of move-flannel-port');
      const at = await lab.fault(row.fault, row.at);
      const pid = await lab.sh('node-3', 'socat -u UDP-RECV:8475 OPEN:/dev/null </dev/null >/dev/null 2>&1 &\necho $!');
      await expect.poll(() => lab.sh('node-3', "ss -Huln 'sport = 8475'")).toContain(':8475');
      const isBroken = await state(lab);
      const { body: before } = await lab.api('GET', FLANNEL_CONFIG);
      const steps: string[] = [];
      const outcome = await carriedOut(lab, actionOf(lab, await offered(lab, row, at)), { steps, readyMs: 5_000 });
      expect([outcome.outcome, outcome.reason, outcome.undo]).toEqual([
        'not-healed',
        expect.stringMatching(
          /^the command failed: no pod took the place of kube-flannel\/kube-flannel-ds-3 on node-3 within 5 s; the state from before was brought back$/,
        ),
        [],
      ]);
      const restarted = steps.flatMap((step) => /^restarting \S+ on (node-\d) /.exec(step)?.[1] ?? []);
      expect(restarted).toEqual(['node-1', 'node-2', 'node-3', 'node-1', 'node-2', 'node-3', 'node-4']);
      await settled(lab, isBroken);
      const { body: after } = await lab.api('GET', FLANNEL_CONFIG);
      expect(contentOf(after)).toEqual(contentOf(before));
      await lab.sh('node-3', `kill ${pid.trim()}`);
      await lab.heal(row.fault);
      await expectHealthy(lab);
    },
    ROW_MS,
  );
});

/** What a ConfigMap says and is marked with. */
function contentOf(configMap: unknown): unknown {
  const { data, metadata } = configMap as { data: unknown; metadata: { annotations?: object } };
  return { data, annotations: metadata.annotations ?? {} };
}

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('what no fault of a lab can have', () => {
  const shared = sharedLab({ nodes: 2, approvalKey: keys.publicKey });

  test('raise-neighbour-limits raises what the finding says, keeps it, and brings back what was there', async () => {
    const lab = shared();
    await lab.sh(
      'node-2',
      `mkdir -p /run/neigh/default
echo 128 >/run/neigh/default/gc_thresh1
echo 512 >/run/neigh/default/gc_thresh2
echo 1024 >/run/neigh/default/gc_thresh3
mount --bind /run/neigh ${LIMITS}`,
    );
    const kept = (): Promise<string> =>
      lab.sh('node-2', `cat ${LIMITS}/default/gc_thresh?; tail -n 3 /etc/sysctl.d/99-netcheck-* || :`);
    const isBroken = await kept();
    const bundle = readCase('linux/neighbour-table-full', 'refused');
    const plan = propose(judge(bundle), bundle).find(({ remedy }) => remedy === 'raise-neighbour-limits');
    if (plan === undefined) throw new Error('no remedy is offered');
    const { body } = await lab.api('GET', '/api/v1/nodes/node-2');
    const { uid } = (body as { metadata: { uid: string } }).metadata;
    const action = actionOf(lab, { ...plan, target: { node: 'node-2', uid }, verification: [] });
    const outcome = await carriedOut(lab, action);
    expect([outcome.outcome, outcome.reason]).toEqual(['healed', null]);
    const lines = [3, 2, 1].map((number) => `net.ipv4.neigh.default.gc_thresh${number} = ${2 ** number * 512}\n`);
    expect(await kept()).toBe(`1024\n2048\n4096\n${lines.join('')}`);
    expect(await takenBack(lab, action, outcome)).toEqual(['undone', null]);
    expect(await kept()).toBe(isBroken);
  });
});

/** What another diagnosis still finds of what the remedy was for. */
async function remains(lab: Lab, { fault, code }: Row, at: At) {
  const { verdict } = await diagnoseLab(lab, FAULTS[fault]?.request?.(lab, at));
  const left = [...verdict.causes, ...verdict.risks].filter((finding) => finding.code === code);
  return { status: verdict.status, headline: verdict.headline, left: left.map((finding) => finding.code) };
}

/** All that could be changed on the nodes, but for what they remember of actions. */
async function state(lab: Lab): Promise<Readonly<Record<string, string>>> {
  const texts = Object.entries(await snapshot(lab));
  return Object.fromEntries(texts.map(([node, text]) => [node, text.replaceAll(/^\/var\/lib\/netcheck\/.*\n/gm, '')]));
}

/** The plan for the remedy of this row that a diagnosis offers. Throws when there is none. */
async function offered(lab: Lab, { remedy, fault, code }: Row, at: At): Promise<RemedyPlan> {
  const { verdict, bundle } = await diagnoseLab(lab, FAULTS[fault]?.request?.(lab, at));
  const plans = propose(verdict, bundle);
  const plan = plans.find((each) => each.remedy === remedy && each.finding.code === code);
  if (plan === undefined)
    throw new Error(
      `${verdict.headline}: no ${remedy} for ${code} is offered, but ${JSON.stringify(plans.map((each) => [each.remedy, each.finding.code]))}`,
    );
  return plan;
}

/** An action as the bot makes one of a plan, approved by somebody. */
function actionOf(lab: Lab, plan: RemedyPlan): Action {
  return approved(makeAction({ ...plan, id: `a${randomUUID()}`, cluster: lab.name }), keys);
}

/** Waits until the nodes are as they were: the kernel settles what a device says of its carrier up to a second later. */
async function settled(lab: Lab, expected: Awaited<ReturnType<typeof state>>): Promise<void> {
  await expect.poll(() => state(lab), { timeout: 10_000, interval: 500 }).toEqual(expected);
}

/** Undoes an action, where that is offered, and says how that ended. */
async function takenBack(lab: Lab, action: Action, outcome: RemedyOutcome): Promise<readonly unknown[] | null> {
  if (outcome.undo.length === 0) return null;
  const { onFailure: _onFailure, diff: _diff, ...own } = action;
  const undo = actionOf(lab, { ...own, commands: outcome.undo, undoes: action.id, verification: [] });
  const { outcome: ended, reason } = await carriedOut(lab, undo, { first: outcome });
  return [ended, reason];
}

/** Carries an action out as a worker does, with no more rights than a worker has; `first` is the outcome that it undoes. */
async function carriedOut(
  lab: Lab,
  action: Action,
  { first, steps = [], readyMs }: { readonly first?: RemedyOutcome; readonly steps?: string[]; readonly readyMs?: number } = {},
): Promise<RemedyOutcome> {
  const { kubeconfig, name } = lab;
  const opened = createKubernetesCluster({ kubeconfig, context: `${name}-worker`, log: { debug: () => {} } });
  if (!opened.ok) throw new Error(opened.fault.message);
  const cluster = opened.value;
  try {
    return await createRemediate({ cluster, readyMs })(action, {
      signal: new AbortController().signal,
      onStep: (step) => void steps.push(step),
      recall: async () => first?.states ?? null,
    });
  } finally {
    await cluster.close();
  }
}
