import naughty from 'big-list-of-naughty-strings/blns.json' with { type: 'json' };
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slackFaults } from '../../../test/slack-limits.ts';
import { plansFor, readVerdict, VERDICTS } from '../../../test/verdicts.ts';
import { LAYERS } from '../../model/layer.ts';
import type { Action, RemedyOutcome } from '../../model/remedy.ts';
import type { Verdict, VerdictFinding } from '../../model/verdict.ts';
import type { ActionRecord } from '../../model/wire/action.ts';
import type { Message } from './blocks.ts';
import { code, md } from './markup.ts';
import { breakGlassMessage, type CardPolicy, outcomeMessage, remedyCard, shellWords } from './remedy.ts';
import { remedyDetails } from './remedy-details.ts';
import { endedMessage, type RunView, waitingMessage } from './run.ts';
import { symptomLines, threadReplies } from './thread.ts';
import { verdictMessage } from './verdict.ts';

const policy: CardPolicy = {
  approvers: { users: ['U0000000A', 'U0000000B'], groups: ['S000000001'] },
  selfApproval: false,
  quiet: null,
  breakGlass: false,
};

function viewOf(verdict: Verdict): RunView {
  return { ref: `lab/${verdict.run.id}`, cluster: 'lab', request: verdict.run.request, requestedBy: 'U0000000R' };
}

function proposalsFor(verdict: Verdict) {
  return plansFor(verdict).map((plan, index) => ({ ...plan, id: `p${index}` }));
}

/** The message as somebody reads it: its blocks' text, without the structure. */
function readable(message: Message): string {
  return message.blocks
    .map((block) => {
      if (block.type === 'section') return block.text?.text;
      if (block.type === 'context') return block.elements.map((element) => ('text' in element ? element.text : '')).join(' ');
      if (block.type === 'actions')
        return block.elements.map((element) => ('text' in element ? `[${element.text.text}]` : '')).join(' ');
      return block.type === 'rich_text' ? JSON.stringify(block.elements.map((element) => element.elements)) : '';
    })
    .join('\n');
}

test('a fault with a remedy is told in the order in which somebody needs it', () => {
  const verdict = readVerdict('ip-forward-off');
  const message = verdictMessage(verdict, viewOf(verdict), { mode: 'on', proposals: proposalsFor(verdict) });
  expect(message.text).toBe(
    '🔴 Failed at L3: cluster lab. node-2 does not forward packets: its pods are cut off from all other nodes.',
  );
  expect(readable(message)).toBe(
    [
      '🔴 *Failed* at `L3` · cluster `lab`',
      '*node-2 does not forward packets: its pods are cut off from all other nodes.*',
      'Pods on node-2 and pods on every other node cannot reach each other; node-2 itself can be reached.',
      '*Cause:* node-2 does not forward IPv4: net.ipv4.ip_forward is 0, set by /etc/sysctl.d/90-hardening.conf.',
      '> `node-2` /proc/sys/net/ipv4/ip_forward: `0`',
      'Correct /etc/sysctl.d/90-hardening.conf, or the setting returns at the next boot.',
      '`L2` ✅  `L3` ❌  `L4` ✅  `DNS` ❔  `L7` ✅',
      '*Works:* 171 of 186 probes; L2, L4, L7 ok. 6 nodes and 11 checks looked at. Steady loss below 3 % on one path may have gone unseen.',
      '[Set ip_forward to 1 on node-2]',
      'asked by <@U0000000R> · run `r1forward00` · took 3.9 s · evidence in the thread',
    ].join('\n'),
  );
});

test('what could not be looked at is said, and is never healthy', () => {
  const verdict = readVerdict('agent-missing');
  expect(readable(verdictMessage(verdict, viewOf(verdict), { mode: 'off', proposals: [] }))).toBe(
    [
      '⚪ *Inconclusive* · cluster `lab`',
      '*Nothing fails as far as could be seen, but node-3 could not be looked at.*',
      'Five of six nodes were looked at; node-3 answers its peers.',
      '`L2` ✅  `L3` ❔  `L4` ✅  `DNS` ✅  `L7` ✅',
      '*Works:* 150 of 150 probes; L2, L4, DNS, L7 ok. 5 nodes and 11 checks looked at. Steady loss below 3 % on one path may have gone unseen.',
      '*Not checked:*',
      '• `node-3`: all checks of the node (no agent is running there (DaemonSet netcheck-agent: 5 of 6 pods))',
      '• `node-3`: probes from node-3 (no agent is running there)',
      'asked by <@U0000000R> · run `r5agent0000` · took 8.0 s · what was not checked in the thread',
    ].join('\n'),
  );
});

test('remedies are offered only where somebody may approve them', () => {
  const verdict = readVerdict('ip-forward-off');
  const proposals = proposalsFor(verdict);
  const last = (mode: 'off' | 'nobody' | 'on') =>
    readable(verdictMessage(verdict, viewOf(verdict), { mode, proposals }))
      .split('\n')
      .at(-2);
  expect([last('off'), last('nobody'), last('on')]).toEqual([
    'netcheck knows a remedy, but remedies are switched off (`remedies.enabled`).',
    'netcheck knows a remedy, but nobody may approve one (`access.approve` is empty).',
    '[Set ip_forward to 1 on node-2]',
  ]);
});

test('the thread tells failing probes in few lines', () => {
  expect(symptomLines(readVerdict('ip-forward-off').symptoms)).toEqual([
    'L3  node-1, node-3, node-4, node-5 +1 → default/web-2: timeout 0/2',
    'L3  default/web-1, default/web-3, default/web-4, default/web-5 +1 → default/web-2: timeout 0/3',
    'L3  default/web-2 → default/web-1, default/web-3, default/web-4, default/web-5 +1: timeout 0/2',
  ]);
});

test.each(VERDICTS)('every message about the recorded verdict %s is within what Slack takes', (name) => {
  const verdict = readVerdict(name);
  const replies = threadReplies(verdict);
  expect(slackFaults(verdictMessage(verdict, viewOf(verdict), { mode: 'on', proposals: proposalsFor(verdict) }))).toEqual([]);
  expect(replies.flatMap(({ message }) => slackFaults(message))).toEqual([]);
  expect(new Set(replies.map(({ step }) => step)).size).toBe(replies.length);
});

test('running, failed and cancelled runs have their message', () => {
  const view: RunView = { ref: 'lab/r1', cluster: 'lab', request: { kind: 'node', node: 'node-3' }, requestedBy: 'U0000000R' };
  const progress = {
    phase: 'sweep' as const,
    nodesReady: 4,
    nodesTotal: 6,
    layers: { L2: 'ok' as const, L3: 'checking' as const },
  };
  const alive = { alive: 1, lastSeenMs: 100 };
  const messages = [
    waitingMessage(view, { progress: null, running: false, cancelling: false, workers: { alive: 0, lastSeenMs: 125_000 } }),
    waitingMessage(view, { progress, running: true, cancelling: false, workers: alive }),
    waitingMessage(view, { progress, running: true, cancelling: true, workers: alive }),
    endedMessage(view, { status: 'failed', reason: 'no worker took it up within 600 s', by: null }),
    endedMessage({ ...view, requestedBy: null }, { status: 'cancelled', reason: null, by: 'U0000000C' }),
  ];
  expect(messages.map(readable)).toEqual([
    '🕓 *Queued:* node `node-3` of cluster `lab`\n⚠️ No worker of `lab` is alive (the last one was heard of 2 min 5 s ago). The check starts as soon as one is back.\n[Cancel]\nasked by <@U0000000R> · run `r1`',
    '⏳ *Checking* node `node-3` of cluster `lab`\n`L2` ✅  `L3` ⏳  `L4` ➖  `DNS` ➖  `L7` ➖\n4 of 6 nodes ready · probing\n[Cancel]\nasked by <@U0000000R> · run `r1`',
    '🛑 *Stopping* the check of node `node-3` of cluster `lab`\n`L2` ✅  `L3` ⏳  `L4` ➖  `DNS` ➖  `L7` ➖\n4 of 6 nodes ready · probing\nasked by <@U0000000R> · run `r1`',
    '⚪ *No verdict* on node `node-3` of cluster `lab`\nno worker took it up within 600 s\nNothing is known about the network from this run. Again: `/netcheck node node-3`\nasked by <@U0000000R> · run `r1`',
    '🛑 *Cancelled:* the check of node `node-3` of cluster `lab`, by <@U0000000C>\nNothing is known about the network from this run. Again: `/netcheck node node-3`\nasked by netcheck · run `r1`',
  ]);
  expect(messages.flatMap(slackFaults)).toEqual([]);
});

function record(action: Partial<Action> = {}, rest: Partial<ActionRecord> = {}): ActionRecord {
  const [plan] = plansFor(readVerdict('ip-forward-off'));
  if (plan === undefined) throw new Error('the recording offers no remedy');
  return {
    action: {
      schema: 'netcheck.action/v1',
      id: 'a1',
      run: 'r1',
      cluster: 'lab',
      ...plan,
      requestedBy: { user: 'U0000000R', team: 'T1' },
      requestedAt: 1_800_000_000_000,
      approvalsNeeded: 1,
      approvals: [],
      digest: 'd',
      ...action,
    },
    channel: 'C1',
    state: 'requested',
    revision: 1,
    approveBy: 1_800_000_900_000,
    startBy: null,
    startedAt: null,
    closedAt: null,
    closedBy: null,
    reason: null,
    outcome: null,
    ...rest,
  };
}

test('a remedy shows exactly what runs, why, at what risk, and who decides until when', () => {
  const card = remedyCard(record(), policy, null);
  if (card === null) throw new Error('no card');
  expect(readable(card)).toBe(
    [
      '🛠️ *Remedy, waiting for approval:* *Set ip_forward to 1 on node-2*',
      '*Why:* node-2 does not forward IPv4: net.ipv4.ip_forward is 0, set by /etc/sysctl.d/90-hardening.conf.',
      '> `node-2` /proc/sys/net/ipv4/ip_forward: `0`',
      '*Runs exactly this* on `node-2`:',
      '[[{"type":"text","text":"sysctl -w net.ipv4.ip_forward=1"}]]',
      '*Risk* (medium): Writing this key also resets the forwarding of every interface.',
      '*Undo:* The value of every interface is written back.',
      '*Verified by* running 15 failing probes again.',
      '*Who may approve:* <@U0000000A>, <@U0000000B>, <!subteam^S000000001>, but not whoever requested it. Until <!date^1800000900^{time}|08:15 UTC>.',
      '[Approve and run] [Deny] [Details]',
      'requested by <@U0000000R> · action `a1`',
    ].join('\n'),
  );
  expect(slackFaults(card)).toEqual([]);
});

test('a remedy of a risk, for which no probe failed, is verified by the state alone, and its report says so', () => {
  const { action } = record({ verification: [] });
  const card = remedyCard({ ...record(), action }, policy, null);
  expect(card === null ? '' : readable(card)).toContain('*Verified by* reading the state again.');
  const outcome: RemedyOutcome = { outcome: 'healed', reason: null, before: [], after: [], verified: [], undo: [] };
  expect(readable(outcomeMessage(action, outcome))).toBe(
    '✅ *Healed:* what was found is not there any more. *Set ip_forward to 1 on node-2*',
  );
});

const consent = (user: string, breakGlass?: string) => ({
  action: 'a1',
  cluster: 'lab',
  digest: 'd',
  by: { user, team: 'T1' },
  expiresAt: 1_800_000_120_000,
  signature: 's',
  ...(breakGlass === undefined ? {} : { breakGlass }),
});

test('a card says how many have approved of how many, which quiet hours are on, and what breaking the glass is for', () => {
  const asked = record({ approvalsNeeded: 2, approvals: [consent('U0000000A')] });
  const quiet = { words: 'every day 18:00–08:00 Europe/Berlin', until: 1_800_003_600_000 };
  const cards = [
    remedyCard(record({ approvalsNeeded: 2 }), { ...policy, breakGlass: true }, null),
    remedyCard(asked, { ...policy, selfApproval: true, quiet, breakGlass: true }, null),
    remedyCard({ ...asked, state: 'denied', closedBy: 'U0000000B', reason: 'a deploy runs' }, policy, null),
    remedyCard(
      { ...record({ approvalsNeeded: 2, approvals: [consent('U0000000A', 'the site is down')] }), state: 'approved' },
      policy,
      null,
    ),
  ];
  const shown = cards.map((card) => (card === null ? [] : readable(card).split('\n')));
  expect(shown.map((lines) => lines.filter((line) => /approv|Approv|Quiet|By <|deploy|glass|^\[[A-Z]/.test(line)))).toEqual([
    [
      '🛠️ *Remedy, waiting for approval:* *Set ip_forward to 1 on node-2*',
      '*Approvals:* 0 of 2, by different people.',
      '*Who may approve:* <@U0000000A>, <@U0000000B>, <!subteam^S000000001>, but not whoever requested it. Until <!date^1800000900^{time}|08:15 UTC>.',
      '[Approve] [Deny] [Break the glass] [Details]',
    ],
    [
      '🛠️ *Remedy, waiting for approval:* *Set ip_forward to 1 on node-2*',
      '*Approvals:* 1 of 2, by different people: so far <@U0000000A>.',
      '*Who may approve:* <@U0000000A>, <@U0000000B>, <!subteam^S000000001>, also whoever requested it, with a reason. Until <!date^1800000900^{time}|08:15 UTC>.',
      '🌙 *Quiet hours* (every day 18:00–08:00 Europe/Berlin) until <!date^1800003600^{time}|09:00 UTC>: only breaking the glass approves it.',
      '[Approve and run] [Deny] [Break the glass] [Details]',
    ],
    ['By <@U0000000B>.', 'A deploy runs.', '[Details]'],
    [
      '👍 *Remedy, approved:* *Set ip_forward to 1 on node-2*',
      'Approved by <@U0000000A>.',
      '🚨 *Break-glass* by <@U0000000A>: the site is down',
      '[Details]',
    ],
  ]);
  expect(cards.flatMap(slackFaults)).toEqual([]);
});

test('the details of a remedy are whole: finding, commands, probes, digest, approvals and the policy that applies', () => {
  const asked = record({
    digest: 'f00d'.repeat(16),
    approvalsNeeded: 2,
    approvals: [consent('U0000000A'), consent('U0000000B', 'the site is down')],
    verification: [{ probe: 'pod-ping node-1 > default/web-2', before: { how: 'timeout', sent: 20, delivered: 0 } }],
  });
  const blocks = remedyDetails(asked, [md`*Needs:* 2 approvals (${code('access.rules.0.approvals')})`]);
  expect(readable({ text: 't', blocks })).toBe(
    [
      '*Set ip_forward to 1 on node-2* on `node-2`, cluster `lab`',
      '*State:* requested',
      '*Risk class:* medium',
      '*Finding* `ip-forward-off`: node-2 does not forward IPv4: net.ipv4.ip_forward is 0, set by /etc/sysctl.d/90-hardening.conf.',
      '> `node-2` /proc/sys/net/ipv4/ip_forward: `0`',
      '> `node-2` /etc/sysctl.d/90-hardening.conf: `net.ipv4.ip_forward = 0`',
      '*Runs exactly this*, in this order:',
      '[[{"type":"text","text":"sysctl -w net.ipv4.ip_forward=1"}]]',
      '*Verified by* running 1 failing probe again.',
      '• pod-ping node-1 &gt; default/web-2: timeout 0/20',
      '*Policy* that applies to it:',
      '*Needs:* 2 approvals (`access.rules.0.approvals`)',
      '*Approvals:* 2 of 2',
      '• <@U0000000A>, holds until <!date^1800000120^{date_short_pretty} {time}|2027-01-15 08:02 UTC>',
      '• <@U0000000B>, holds until <!date^1800000120^{date_short_pretty} {time}|2027-01-15 08:02 UTC>, *broke the glass:* the site is down',
      'It may be approved until <!date^1800000900^{date_short_pretty} {time}|2027-01-15 08:15 UTC>.',
      `requested by <@U0000000R> <!date^1800000000^{date_short_pretty} {time}|2027-01-15 08:00 UTC> · action \`a1\` · run \`r1\` · digest \`${'f00d'.repeat(16)}\``,
    ].join('\n'),
  );
  expect(slackFaults({ text: 't', blocks })).toEqual([]);
});

test('a channel is told of a broken glass: who, what, why and what policy asks', () => {
  const broken = record({ approvalsNeeded: 2, approvals: [consent('U0000000A', 'the site is down <!channel>')] });
  const message = breakGlassMessage(broken);
  if (message === null) throw new Error('no message');
  expect(readable(message)).toBe(
    [
      '🚨 *Break-glass:* <@U0000000A> approved *Set ip_forward to 1 on node-2* on cluster `lab` past its policy.',
      '*Reason:* the site is down &lt;!channel&gt;',
      'It was requested by <@U0000000R> and needs 2 approvals by policy. What runs is in the thread of run `r1`.',
      'action `a1`, in the audit as `breakGlass=yes`',
    ].join('\n'),
  );
  expect([slackFaults(message), breakGlassMessage(record({ approvals: [consent('U0000000A')] }))]).toEqual([[], null]);
});

test('a remedy that no card can show whole has no card', () => {
  const cards = [
    record({ commands: [['nft', 'x'.repeat(3_000)]] }),
    record({ commands: [['sysctl', '-w', 'a\u202eb=1']] }),
    record({ risk: 'r'.repeat(2_000) }),
    record({ title: 't'.repeat(80) }),
  ].map((one) => remedyCard(one, policy, null));
  expect(cards).toEqual([null, null, null, null]);
});

test('argument vectors are shown so that it is plain where one argument ends', () => {
  expect(shellWords(['ip', 'neigh', 'del', '10.0.0.5', 'dev', "eth0; rm -rf '$HOME'", ''])).toBe(
    "ip neigh del 10.0.0.5 dev 'eth0; rm -rf '\\''$HOME'\\''' ''",
  );
});

// Verdicts are large: shrinking one takes minutes and shows less than the faults that the assertion lists.
const fuzzing = { numRuns: Number(process.env['NETCHECK_FUZZ_RUNS'] ?? 200), endOnFailure: true };

const hostile = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: 'binary', maxLength: 60 }) },
  { weight: 3, arbitrary: fc.constantFrom(...naughty) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '<!channel>',
      '<@U0000000X>',
      '&'.repeat(5_000),
      '\u202e'.repeat(50),
      '```',
      '<https://evil.example|ok>',
      '@here http://evil.example',
    ),
  },
  { weight: 1, arbitrary: fc.string({ minLength: 3_000, maxLength: 9_000 }) },
);
const layer = fc.constantFrom(...LAYERS);
const entity = fc.record({ kind: fc.constantFrom('Node' as const, 'Pod' as const), name: hostile, namespace: hostile });
const citation = fc.record({ where: hostile, source: hostile, text: hostile });
const proposal = fc.record({ id: hostile, node: hostile, params: fc.constant({}) });
const finding: fc.Arbitrary<VerdictFinding> = fc
  .record({
    code: hostile,
    check: hostile,
    layer,
    entity,
    severity: fc.constantFrom('critical' as const, 'warning' as const),
    summary: hostile,
    advice: hostile,
    evidence: fc.array(citation, { maxLength: 7 }),
    explains: fc.array(hostile, { maxLength: 3 }),
    remedy: proposal,
  })
  .map(({ advice, remedy, ...rest }) => (rest.code.length % 2 === 0 ? rest : { ...rest, advice, remedy }));
const direction = fc.constantFrom('outbound' as const, 'both' as const, 'undetermined' as const);
const layerState = fc.constantFrom('ok' as const, 'fail' as const, 'unknown' as const, 'not-checked' as const);
const many = (most: number) => fc.oneof({ weight: 6, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.constant(most) });
const repeat = <T>(items: readonly T[], times: number): T[] =>
  items.length === 0
    ? []
    : Array.from({ length: times }, (_, index) => items[index % items.length]).filter((item) => item !== undefined);

const verdicts: fc.Arbitrary<Verdict> = fc
  .record({
    status: fc.constantFrom('healthy' as const, 'degraded' as const, 'failed' as const, 'inconclusive' as const),
    layer: fc.option(layer),
    headline: hostile,
    sentence: hostile,
    cluster: hostile,
    node: hostile,
    causes: fc.array(finding, { maxLength: 4 }),
    causeTimes: many(500),
    alternatives: fc.array(fc.array(fc.nat(5), { maxLength: 6 }), { maxLength: 6 }),
    located: fc.array(
      fc.record({
        segment: hostile,
        layer,
        class: hostile,
        direction,
        lossPercent: fc.double({ min: 0, max: 100, noNaN: true }),
        symptoms: fc.array(hostile, { maxLength: 3 }),
        evidence: fc.array(citation, { maxLength: 3 }),
        next: hostile,
      }),
      { maxLength: 4 },
    ),
    symptoms: fc.array(
      fc.record({
        id: hostile,
        layer,
        subject: entity,
        target: entity,
        direction,
        result: fc.record({
          how: fc.constantFrom('timeout' as const, 'refused' as const),
          sent: fc.nat(100),
          delivered: fc.nat(100),
        }),
        explainedBy: fc.array(hostile, { maxLength: 1 }),
      }),
      { maxLength: 6 },
    ),
    symptomTimes: many(2_000),
    risks: fc.array(finding, { maxLength: 3 }),
    layers: fc.record({ L2: layerState, L3: layerState, L4: layerState, DNS: layerState, L7: layerState }),
    notChecked: fc.array(fc.record({ what: hostile, where: hostile, reason: hostile }), { maxLength: 4 }),
    notCheckedTimes: many(500),
  })
  .map((v) => ({
    schema: 'netcheck.verdict/v1',
    run: {
      id: 'r1',
      request: { kind: 'node', node: v.node },
      cluster: v.cluster,
      startedAt: '2026-11-20T00:00:00Z',
      durationMs: 90_000,
    },
    status: v.status,
    layer: v.layer,
    headline: v.headline,
    scope: { subjects: [], targets: [], direction: 'undetermined', sentence: v.sentence },
    causes: repeat(v.causes, v.causeTimes),
    alternatives: v.alternatives,
    located: v.located,
    symptoms: repeat(v.symptoms, v.symptomTimes).map((symptom, index) => ({
      ...symptom,
      target: { ...symptom.target, name: `${symptom.target.name}-${index % 500}` },
    })),
    risks: repeat(v.risks, v.causeTimes),
    layers: v.layers,
    checked: { nodes: 500, checks: 40, probes: 250_000, passed: 3, expectedDenied: 7, missedLossPercent: null },
    notChecked: repeat(v.notChecked, v.notCheckedTimes),
  }));

test('no verdict, however hostile or large, makes a message that Slack refuses or that pings, links or reorders', () => {
  fc.assert(
    fc.property(verdicts, hostile, (verdict, title) => {
      const proposals = verdict.causes.slice(0, 9).map((cause, index) => ({
        id: `p${index}`,
        remedy: 'r',
        title,
        target: { node: 'n', uid: 'u' },
        params: {},
        commands: [[title]],
        risk: title,
        riskClass: 'low' as const,
        undo: null,
        finding: { code: cause.code, summary: cause.summary, evidence: cause.evidence },
        verification: [],
      }));
      const messages = [
        verdictMessage(verdict, viewOf(verdict), { mode: 'on', proposals }),
        ...threadReplies(verdict).map(({ message }) => message),
        endedMessage(viewOf(verdict), { status: 'failed', reason: title, by: title }),
      ];
      expect(messages.flatMap(slackFaults)).toEqual([]);
      expect(messages.length).toBeLessThanOrEqual(8);
    }),
    fuzzing,
  );
}, 120_000);

test('no remedy, however hostile, makes a card or a report that Slack refuses', () => {
  const outcomes: fc.Arbitrary<RemedyOutcome> = fc.record({
    outcome: fc.constantFrom('healed', 'not-healed', 'refused', 'outcome-unknown'),
    reason: fc.option(hostile),
    before: fc.array(citation, { maxLength: 7 }),
    after: fc.array(citation, { maxLength: 7 }),
    verified: fc.array(
      fc.record({
        probe: hostile,
        sentence: hostile,
        before: fc.record({ how: fc.constantFrom('timeout' as const, null), sent: fc.nat(9), delivered: fc.nat(9) }),
        after: fc.constantFrom(null, { how: 'ok' as const, sent: 2, delivered: 2 }),
      }),
      { maxLength: 60 },
    ),
    undo: fc.array(fc.array(hostile, { minLength: 1, maxLength: 4 }), { maxLength: 60 }),
  });
  fc.assert(
    fc.property(outcomes, hostile, fc.array(citation, { maxLength: 3 }), (outcome, text, evidence) => {
      const one = record(
        { title: text, risk: text, undo: text, commands: [[text, text]], finding: { code: text, summary: text, evidence } },
        { outcome, reason: text, state: 'done', closedBy: text },
      );
      const card = remedyCard(one, policy, text);
      const details = { text: 't', blocks: remedyDetails(one, []) };
      expect([
        ...(card === null ? [] : slackFaults(card)),
        // A form has more room than a message.
        ...slackFaults(details).filter((fault) => !fault.startsWith('all blocks together')),
        ...slackFaults(outcomeMessage(one.action, outcome)),
      ]).toEqual([]);
    }),
    fuzzing,
  );
}, 120_000);

test('what was found out about the cluster is the last reply: one line, and how each part is known', () => {
  const detected = [
    { what: 'network' as const, value: 'kubenet', source: 'the bridge cbr0' },
    { what: 'proxy' as const, value: 'kube-proxy iptables', source: 'its rules on the nodes' },
  ];
  const replies = threadReplies({ ...readVerdict('healthy'), detected });
  expect(replies.at(-1)).toMatchObject({
    step: 'detected',
    message: {
      text: 'Detected: kubenet, kube-proxy iptables',
      blocks: [
        { text: { text: '*Detected:* kubenet, kube-proxy iptables' } },
        { elements: [{ text: expect.stringContaining('kube-proxy iptables: its rules on the nodes') }] },
      ],
    },
  });
});
