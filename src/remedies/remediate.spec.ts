import { PassThrough } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { makeAction } from '../../test/action.ts';
import { readRecording } from '../cli/demo/recording.ts';
import type { AgentConnection, Cluster, ClusterFault } from '../cluster/port.ts';
import { createReplayCluster } from '../cluster/replay/index.ts';
import { judge } from '../diagnosis/judge.ts';
import type { AgentFault } from '../model/evidence.ts';
import type { Citation } from '../model/finding.ts';
import type { Inventory } from '../model/inventory.ts';
import type { Action } from '../model/remedy.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyOrder, type RemedyReport } from '../model/wire/remedy.ts';
import type { RemedyWriter } from './api-host.ts';
import { propose } from './propose.ts';
import { createRemediate } from './remediate.ts';

/*
 * The worker's side of a remedy against a cluster that is a recording: the probes that verify are answered from the
 * evidence of the broken or of the healed network, the remedy agent says what each test has it say.
 */

const { broken, healed } = readRecording();
const [plan] = propose(judge(broken), broken);
const action = makeAction({ ...plan!, cluster: broken.run.cluster });

const before: Citation[] = [{ where: 'node-3', source: 'ip', text: 'forwarding off: all' }];
const after: Citation[] = [{ where: 'node-3', source: 'ip', text: 'forwarding on: all' }];
const UNDO = [['sysctl', '-w', 'net/ipv4/ip_forward=0']];
const DONE: readonly RemedyReport[] = [
  { type: 'claimed' },
  { type: 'acting', before },
  { type: 'done', before, after, error: null, undo: UNDO },
];

type Script = {
  /** What the node says once it has its order; bytes are sent as they are. */
  readonly says?: readonly (RemedyReport | Uint8Array)[];
  /** How the connection ends after that; null for a clean exit. */
  readonly ends?: AgentFault | null;
  /** Why the remedy agent cannot be opened. */
  readonly opening?: AgentFault;
  /** Whether what the node does heals the network. */
  readonly heals?: boolean;
  readonly inventory?: (inventory: Inventory) => Inventory;
  readonly unreadable?: ClusterFault;
};

/** A cluster that is broken until its remedy agent has said its part. */
function fakeCluster(script: Script) {
  let isBroken = true;
  const orders: RemedyOrder[] = [];
  const opened: string[] = [];
  let closed = 0;
  const replay = createReplayCluster({ current: () => (isBroken ? broken : healed) });
  const unwritten = async () => ({ ok: false, fault: { kind: 'invalid', message: 'nothing is written here' } }) as const;
  const cluster: Cluster & RemedyWriter = {
    ...replay,
    read: unwritten,
    patch: unwritten,
    listPods: unwritten,
    deletePod: unwritten,
    async inventory(signal) {
      if (script.unreadable !== undefined) return { ok: false, fault: script.unreadable };
      const read = await replay.inventory(signal);
      return read.ok ? { ok: true, value: script.inventory?.(read.value) ?? read.value } : read;
    },
    async openRemedyAgent(node) {
      opened.push(node);
      if (script.opening !== undefined) return { ok: false, fault: script.opening };
      const output = new PassThrough();
      const ended = Promise.withResolvers<AgentFault | null>();
      const frames = createFrameReader(MAX_FRAME_BYTES);
      output.write(encodeFrame({ type: 'ready', node } satisfies RemedyReport));
      const value: AgentConnection = {
        output,
        ended: ended.promise,
        write(chunk) {
          const values = frames.push(chunk);
          if ('kind' in values) throw new Error(values.message);
          orders.push(...values.map((order) => RemedyOrder.parse(order)));
          for (const report of script.says ?? []) output.write(report instanceof Uint8Array ? report : encodeFrame(report));
          isBroken = script.heals !== true;
          output.end();
          ended.resolve(script.ends ?? null);
        },
        close() {
          closed += 1;
          output.end();
          ended.resolve({ kind: 'cancelled', message: 'closed' });
        },
      };
      return { ok: true, value };
    },
  };
  return { cluster, orders, opened, closed: () => closed };
}

/** Carries the action out, and returns the outcome with what was said on the way. */
async function remedy(script: Script, what: Action = action, signal = new AbortController().signal) {
  const fake = fakeCluster(script);
  const steps: string[] = [];
  const outcome = await createRemediate({ cluster: fake.cluster })(what, {
    signal,
    onStep: (step) => void steps.push(step),
    recall: async () => null,
  });
  await fake.cluster.close();
  return { outcome, steps, ...fake };
}

const REFUSED = { outcome: 'refused', before: [], after: [], verified: [], undo: [] } as const;

test('what heals is verified with the probes that failed, and how to undo it is told', async () => {
  const { outcome, steps, orders, opened, closed } = await remedy({ says: DONE, heals: true });
  expect({ ...outcome, verified: outcome.verified.length > 0 }).toEqual({
    outcome: 'healed',
    reason: null,
    before,
    after,
    verified: true,
    undo: UNDO,
  });
  const planned = new Map(action.verification.map(({ probe, before: was }) => [probe, was]));
  expect(outcome.verified.map((probe) => [probe.before, probe.after?.how])).toEqual(
    outcome.verified.map(({ probe }) => [planned.get(probe), 'ok']),
  );
  expect(outcome.verified[0]).toMatchObject({ sentence: expect.stringMatching(/^node-\d → \S+, (ping|tcp \d+)$/) });
  expect({ steps, orders, opened, closed: closed() }).toEqual({
    steps: [
      'reading the cluster',
      'opening the remedy container on node-3',
      'node-3 has claimed the action and reads the state again',
      'running sysctl -w net/ipv4/ip_forward=1',
      'sending the failing probes again',
    ],
    orders: [{ cluster: broken.run.cluster, action }],
    opened: ['node-3'],
    closed: 1,
  });
});

test('what runs and does not heal is said to have run and not healed', async () => {
  const { outcome } = await remedy({ says: DONE, heals: false });
  expect({ ...outcome, verified: outcome.verified.filter((probe) => probe.after?.how === 'ok') }).toEqual({
    outcome: 'not-healed',
    reason: 'it ran, and some of the probes that failed before still fail',
    before,
    after,
    verified: [],
    undo: UNDO,
  });
});

test('a command that failed is no success, even where the probes pass', async () => {
  const failed: RemedyReport = { type: 'done', before, after: before, error: 'sysctl: exit status 1', undo: UNDO };
  const { outcome } = await remedy({ says: [...DONE.slice(0, 2), failed], heals: true });
  expect(outcome).toMatchObject({ outcome: 'not-healed', reason: 'the command failed: sysctl: exit status 1', undo: UNDO });
});

test('nothing is called healed where the probe to verify with does not exist any more', async () => {
  const verification = [{ probe: 'gone', before: { how: 'timeout' as const, sent: 1, delivered: 0 } }];
  const { outcome } = await remedy({ says: DONE, heals: true }, { ...action, verification });
  expect([outcome.outcome, outcome.reason, outcome.verified.map((probe) => probe.after)]).toEqual([
    'not-healed',
    'it ran, but not every probe that failed before could be sent again: nothing shows that it helped',
    [null],
  ]);
});

describe('a risk, for which no probe had failed, is judged by the state after the act', () => {
  const done: RemedyReport = { type: 'done', before, after, error: null, undo: UNDO };
  const helped = 'it ran, but nothing shows that it helped: ';
  const cases: readonly (readonly [string, RemedyReport, string, string | null])[] = [
    ['the finding is gone', { ...done, holds: false }, 'healed', null],
    ['the finding is still there', { ...done, holds: true }, 'not-healed', 'it ran, and what was found is still there'],
    [
      'the state does not show it',
      done,
      'not-healed',
      `${helped}no probe had failed before, and the state does not show it: check again`,
    ],
    ['it could not be read', { ...done, after: [] }, 'not-healed', `${helped}the state could not be read again`],
    ['the command failed', { ...done, holds: false, error: 'exit status 1' }, 'not-healed', 'the command failed: exit status 1'],
  ];

  test.each(cases)('%s', async (_, report, ended, reason) => {
    const { outcome, steps } = await remedy({ says: [...DONE.slice(0, 2), report] }, { ...action, verification: [] });
    expect([outcome.outcome, outcome.reason, outcome.verified]).toEqual([ended, reason, []]);
    expect(steps).not.toContain('sending the failing probes again');
  });
});

describe('refused, and nothing was changed', () => {
  test('the node refuses', async () => {
    const refused: RemedyReport = { type: 'refused', reason: 'the finding no longer holds: forwarding is on', before: after };
    expect((await remedy({ says: [{ type: 'claimed' }, refused] })).outcome).toEqual({
      ...REFUSED,
      reason: 'the finding no longer holds: forwarding is on',
      before: after,
    });
  });

  test('the remedy container cannot be opened', async () => {
    const { outcome, orders } = await remedy({ opening: { kind: 'forbidden', message: 'exec is forbidden' } });
    expect([outcome, orders]).toEqual([{ ...REFUSED, reason: 'nothing was changed: exec is forbidden' }, []]);
  });

  test('the cluster cannot be read', async () => {
    const { outcome, opened } = await remedy({ unreadable: { kind: 'unreachable', message: 'connection refused' } });
    expect([outcome, opened]).toEqual([
      { ...REFUSED, reason: 'the cluster could not be read, nothing was changed: connection refused' },
      [],
    ]);
  });

  test('the node is gone', async () => {
    const without = (inventory: Inventory): Inventory => ({
      ...inventory,
      nodes: inventory.nodes.filter(({ name }) => name !== 'node-3'),
    });
    const { outcome, opened } = await remedy({ inventory: without });
    expect([outcome, opened]).toEqual([{ ...REFUSED, reason: 'there is no node node-3 any more' }, []]);
  });

  test('the node is another machine of the same name', async () => {
    const replaced = (inventory: Inventory): Inventory => ({
      ...inventory,
      nodes: inventory.nodes.map((node) => (node.name === 'node-3' ? { ...node, uid: 'another' } : node)),
    });
    const { outcome, opened } = await remedy({ inventory: replaced });
    expect([outcome, opened]).toEqual([
      { ...REFUSED, reason: 'node-3 is another machine than the one that was diagnosed (its uid has changed)' },
      [],
    ]);
  });

  test('nobody waits for it any more', async () => {
    const { outcome, opened } = await remedy({ says: DONE }, action, AbortSignal.abort());
    expect([outcome, opened]).toEqual([{ ...REFUSED, reason: expect.stringMatching(/^the cluster could not be read/) }, []]);
  });
});

describe('the connection is lost after the order was sent: the outcome is unknown, and the order is not sent again', () => {
  const dropped: AgentFault = { kind: 'dropped', message: 'the connection to the agent on node-3 closed (1006)' };
  const mayHaveRun = `${dropped.message}; the node had claimed the action, so it may have run. It will not be repeated.`;
  const notKnown = 'whether the node began is not known. It will not be repeated.';
  const cases: readonly (readonly [string, Script, string, Citation[]])[] = [
    ['before the node answers', { ends: dropped }, `${dropped.message}; ${notKnown}`, []],
    ['once it is claimed', { says: DONE.slice(0, 1), ends: dropped }, mayHaveRun, []],
    ['while it acts', { says: DONE.slice(0, 2), ends: dropped }, mayHaveRun, before],
    ['without a word', { ends: null }, `the agent ended without a word; ${notKnown}`, []],
    [
      'with output that is no frame',
      { says: [Buffer.from([0xff, 0xff, 0xff, 0xff])], ends: dropped },
      `${dropped.message}; ${notKnown}`,
      [],
    ],
  ];

  test.each(cases)('%s', async (_, script, reason, seen) => {
    const { outcome, orders } = await remedy(script);
    expect({ ...outcome, verified: outcome.verified.some((probe) => probe.after?.how === 'ok') }).toEqual({
      outcome: 'outcome-unknown',
      reason,
      before: seen,
      after: [],
      verified: false,
      undo: [],
    });
    expect(orders).toHaveLength(1);
  });

  test('the probes still say that the network works now', async () => {
    const { outcome } = await remedy({ says: DONE.slice(0, 2), ends: dropped, heals: true });
    expect([outcome.outcome, [...new Set(outcome.verified.map((probe) => probe.after?.how))]]).toEqual([
      'outcome-unknown',
      ['ok'],
    ]);
  });
});

test('messages of a newer agent that are not understood are passed over', async () => {
  const { outcome } = await remedy({ says: [encodeFrame({ type: 'hello' }), ...DONE], heals: true });
  expect(outcome.outcome).toBe('healed');
});
