import { describe, expect, test } from 'vitest';
import { describePort, type PortUnderTest } from '../../../test/contract/cluster.contract.ts';
import { readRecording } from '../../cli/demo/recording.ts';
import { createDiagnose } from '../../diagnosis/diagnose.ts';
import { judge } from '../../diagnosis/judge.ts';
import type { Bundle } from '../../model/bundle.ts';
import type { NodeEvidence } from '../../model/evidence.ts';
import type { Verdict } from '../../model/verdict.ts';
import { FromAgent, type Task } from '../../model/wire/agent.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../../model/wire/frames.ts';
import type { AgentConnection, Cluster } from '../port.ts';
import { createReplayCluster } from './index.ts';

const { broken, healed } = readRecording();

/** A replay that knows how many of its connections have not ended. */
async function make(): Promise<PortUnderTest> {
  const replay = createReplayCluster({ current: () => broken });
  let open = 0;
  const cluster: Cluster = {
    ...replay,
    async openAgent(node, signal) {
      const opened = await replay.openAgent(node, signal);
      if (!opened.ok) return opened;
      open += 1;
      void opened.value.ended.then(() => {
        open -= 1;
      });
      return opened;
    },
  };
  return { cluster, node: 'node-1', leftovers: async () => open, close: async () => undefined };
}

describePort('the replay adapter', make);

async function diagnose(bundle: Bundle): Promise<Verdict> {
  const cluster = createReplayCluster({ current: () => bundle });
  const result = await createDiagnose({ cluster, version: 'test', clock: () => 0 })(
    { kind: 'cluster' },
    { runId: 'r1', signal: new AbortController().signal, onProgress: () => {} },
  );
  await cluster.close();
  if (!result.ok) throw new Error(result.error.message);
  return result.value.verdict;
}

/** A verdict without what tells one run from another. */
function timeless({ run: _run, ...verdict }: Verdict): Omit<Verdict, 'run'> {
  return verdict;
}

/** The bundle with what was recorded of one node changed. */
function withNode(bundle: Bundle, node: string, change: (recorded: NodeEvidence) => NodeEvidence): Bundle {
  return { ...bundle, evidence: bundle.evidence.map((recorded) => (recorded.node === node ? change(recorded) : recorded)) };
}

describe('a diagnosis of a replay comes to the verdict of the recording', () => {
  test.each([
    ['broken', broken],
    ['healed', healed],
  ])('%s', async (_, bundle) => {
    expect(timeless(await diagnose(bundle))).toEqual(timeless(judge(bundle)));
  });

  test('also when the numbers of the datagrams are others, as when only some probes are sent', async () => {
    const cluster = createReplayCluster({ current: () => healed });
    const recorded = healed.plan.probes.find(({ method, round, from }) => method === 'udp' && round === 1 && from.pod === null)!;
    const receiver = recorded.receiver ?? '';
    const [from, to] = [await open(cluster, recorded.from.node), await open(cluster, receiver)];
    const target = { id: '0', ip: recorded.to.ip, port: recorded.to.port ?? 0 };
    const at = { in: 'node', token: 't1' } as const;
    await to.perform({ key: 'listen node', ...bounds, operation: { op: 'listen', ...at } });
    const sent = await from.perform({
      key: 'send node round 1',
      ...bounds,
      operation: { op: 'send', ...at, targets: [target], count: 1, everyMs: 1 },
    });
    const heard = await to.perform({ key: 'heard node round 1', ...bounds, operation: { op: 'heard', in: 'node' } });
    const counts: readonly unknown[] = [sent, heard].map(({ stdout }) => JSON.parse(stdout));
    expect(counts).toEqual([{ sent: { 0: recorded.count }, errors: {} }, { 0: recorded.count }]);
    await cluster.close();
  });
});

describe('what failed then fails again', () => {
  test('an agent that was not there', async () => {
    const fault = { kind: 'no-agent', message: 'node-5 has no pod netcheck-agent' } as const;
    const bundle = withNode(healed, 'node-5', ({ node }) => ({ node, items: {}, fault }));
    const verdict = await diagnose(bundle);
    expect([
      verdict.status,
      verdict.notChecked.filter(({ reason }) => reason.includes(fault.message)).map(({ where }) => where),
    ]).toEqual(['inconclusive', ['node-5']]);
  });

  test('an agent that was lost half-way, at the same point', async () => {
    const fault = { kind: 'dropped', message: 'the connection to the agent on node-5 closed (1006) before it ended' } as const;
    const bundle = withNode(healed, 'node-5', (recorded) => ({
      ...recorded,
      // What was read at first is there, what the sweep sent is not.
      items: Object.fromEntries(Object.entries(recorded.items).filter(([key]) => !/ping|exchange|send|heard|@after/.test(key))),
      fault,
    }));
    const verdict = await diagnose(bundle);
    expect([
      verdict.status,
      verdict.notChecked.some(({ where, reason }) => where === 'node-5' && reason.includes(fault.message)),
    ]).toEqual(['inconclusive', true]);
  });

  test('a node of which nothing was recorded', async () => {
    const bundle = { ...healed, evidence: healed.evidence.filter(({ node }) => node !== 'node-5') };
    const cluster = createReplayCluster({ current: () => bundle });
    expect(await cluster.openAgent('node-5', new AbortController().signal)).toEqual({
      ok: false,
      fault: { kind: 'no-agent', message: 'nothing was recorded of node-5' },
    });
  });
});

const bounds = { deadlineMs: 1000, maxBytes: 1000 };

test('what nobody recorded is answered as failed, never as nothing', async () => {
  const cluster = createReplayCluster({ current: () => healed });
  const agent = await open(cluster, 'node-1');
  const task: Task = { key: 'node: uptime', ...bounds, operation: { op: 'run', in: 'node', argv: ['uptime'] } };
  expect(await agent.perform(task)).toMatchObject({
    exitCode: null,
    fault: 'failed',
    stderr: 'the recording has no node: uptime',
  });
  await cluster.close();
});

test('an agent that is told to end ends without a fault', async () => {
  const { connection } = await open(createReplayCluster({ current: () => healed }), 'node-1');
  connection.write(encodeFrame({ type: 'end' }));
  for await (const _chunk of connection.output);
  expect(await connection.ended).toBeNull();
});

test('an agent that is told nonsense ends, and says why', async () => {
  const { connection } = await open(createReplayCluster({ current: () => healed }), 'node-1');
  connection.write(Buffer.from([0, 0, 0, 1, 0x7b]));
  for await (const _chunk of connection.output);
  expect(await connection.ended).toEqual({ kind: 'protocol', message: 'a frame that is not JSON: "{"' });
});

test('the bundle may change between one agent and the next', async () => {
  let current = broken;
  const cluster = createReplayCluster({ current: () => current });
  const forwarding = async (): Promise<string> => {
    const agent = await open(cluster, 'node-3');
    const argv = ['ip', '-j', '-4', 'netconf', 'show'];
    const { stdout } = await agent.perform({
      key: 'node: ip -j -4 netconf show',
      ...bounds,
      operation: { op: 'run', in: 'node', argv },
    });
    agent.connection.close();
    return String(/"interface":"all","forwarding":(\w+)/.exec(stdout)?.[1]);
  };
  const first = await forwarding();
  current = healed;
  expect([first, await forwarding()]).toEqual(['false', 'true']);
  await cluster.close();
});

/** Opens an agent, to be asked for one thing after the other. */
async function open(cluster: Cluster, node: string) {
  const opened = await cluster.openAgent(node, new AbortController().signal);
  if (!opened.ok) throw new Error(opened.fault.message);
  const connection: AgentConnection = opened.value;
  const messages = read(connection);
  let round = 0;
  return {
    connection,
    perform: async (task: Task) => {
      round += 1;
      connection.write(encodeFrame({ type: 'do', round, tasks: [task] }));
      for (;;) {
        const next = await messages.next();
        if (next.done === true) throw new Error('the agent ended');
        if (next.value.type === 'result' && next.value.key === task.key) return next.value.evidence;
      }
    },
  };
}

async function* read(connection: AgentConnection): AsyncGenerator<FromAgent, undefined> {
  const frames = createFrameReader(MAX_FRAME_BYTES);
  for await (const chunk of connection.output) {
    const values = frames.push(chunk);
    if ('kind' in values) throw new Error(values.message);
    for (const value of values) yield FromAgent.parse(value);
  }
}
