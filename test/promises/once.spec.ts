import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { serveRemedy } from '../../src/agent/remedy.ts';
import { readRecording } from '../../src/cli/demo/recording.ts';
import type { AgentConnection, Cluster } from '../../src/cluster/port.ts';
import { createReplayCluster } from '../../src/cluster/replay/index.ts';
import { judge } from '../../src/diagnosis/judge.ts';
import type { Action, RemedyOutcome } from '../../src/model/remedy.ts';
import { encodeFrame } from '../../src/model/wire/frames.ts';
import type { RemedyWriter } from '../../src/remedies/api-host.ts';
import { propose } from '../../src/remedies/propose.ts';
import { createRemediate } from '../../src/remedies/remediate.ts';
import { approved, makeAction, makeApprovalKeys } from '../action.ts';
import { until } from '../until.ts';
import { count, proves } from './counts.ts';

/*
 * A real remedy agent, in a process of its own, is killed at each of its steps, and the order is delivered again after
 * that. Its programs are stand-ins that count what takes effect; the worker's side is the real one, too.
 */

const { broken } = readRecording();
const [plan] = propose(judge(broken), broken);
if (plan === undefined) throw new Error('the recording offers no remedy');
const NODE = plan.target.node ?? '';
const keys = makeApprovalKeys();

/** `before`, `after`: the agent dies around that report. The others are moments within its commands. */
const STEPS = [
  'before claimed',
  'after claimed',
  'in the reading',
  'before acting',
  'after acting',
  'in the act, before its effect',
  'in the act, which goes on without it',
  'in the act, after its effect',
  'in the reading after it',
  'before done',
  'after done',
] as const;

const OFF = [{ interface: 'all', forwarding: false }];
const path = process.env['PATH'];
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'netcheck-once-'));
  mkdirSync(join(root, 'bin'));
  program(
    'ip',
    `echo read >>${root}/reads
case "$(cat ${root}/step) $(wc -l <${root}/reads)" in
  "in the reading 1" | "in the reading after it 2") kill -9 $PPID ;;
esac
cat ${root}/netconf`,
  );
  program(
    'sysctl',
    `case "$(cat ${root}/step)" in
  "in the act, before its effect") kill -9 $PPID; exit 1 ;;
  "in the act, which goes on without it") kill -9 $PPID ;;
esac
echo effect >>${root}/effects
sed -i s/false/true/ ${root}/netconf
[ "$(cat ${root}/step)" != "in the act, after its effect" ] || kill -9 $PPID`,
  );
  writeFileSync(join(root, 'netconf'), JSON.stringify(OFF));
  step('');
  process.env['PATH'] = `${join(root, 'bin')}:${path}`;
});

afterEach(() => {
  process.env['PATH'] = path;
  rmSync(root, { recursive: true, force: true });
});

function program(name: string, script: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

function step(name: string): void {
  writeFileSync(join(root, 'step'), name);
}

function linesOf(name: string): number {
  const file = join(root, name);
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
}

/** How many commands of this test's node are running. */
function running(): number {
  const commands = globSync('/proc/[0-9]*/cmdline').map((file) => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      // It has ended in the meantime.
      return '';
    }
  });
  return commands.filter((command) => command.includes(join(root, 'bin'))).length;
}

/** A cluster whose remedy agents are processes that die at that step. */
function clusterDyingAt(at: string): Cluster & RemedyWriter {
  const unwritten = async () => ({ ok: false, fault: { kind: 'invalid', message: 'nothing is written here' } }) as const;
  return {
    ...createReplayCluster({ current: () => broken }),
    read: unwritten,
    patch: unwritten,
    listPods: unwritten,
    deletePod: unwritten,
    async openRemedyAgent(node) {
      const child = spawn(process.execPath, [join(import.meta.dirname, 'remedy-process.ts'), root, node, keys.publicKey, at], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      child.stdin.on('error', () => undefined);
      const ended = once(child, 'close').then(([status]) =>
        status === 0 ? null : ({ kind: 'dropped', message: 'the agent was killed' } as const),
      );
      const value: AgentConnection = {
        output: child.stdout,
        ended,
        write: (chunk) => void child.stdin.end(chunk),
        close: () => void child.stdin.end(),
      };
      return { ok: true, value };
    },
  };
}

/** Delivers an order once more, to another agent of that node. Returns its exit status. */
function deliver(action: Action): Promise<number> {
  const input = new PassThrough();
  input.end(encodeFrame({ cluster: broken.run.cluster, action }));
  const output = new PassThrough();
  output.resume();
  return serveRemedy({ input, output, root, node: NODE, publicKey: keys.publicKey, clock: Date.now });
}

const crashes = count(1, 50);
let crashed = 0;

test.each(STEPS)(
  'a remedy whose agent dies runs at most once, and nothing untrue is said of it: %s',
  async (at) => {
    for (let time = 0; time < crashes; time += 1) {
      const id = `a${String(crashed).padStart(10, '0')}`;
      const action = approved(makeAction({ ...plan, verification: [], id, cluster: broken.run.cluster }), keys);
      rmSync(join(root, 'reads'), { force: true });
      rmSync(join(root, 'effects'), { force: true });
      writeFileSync(join(root, 'netconf'), JSON.stringify(OFF));
      step(at);
      const cluster = clusterDyingAt(at);
      const outcome = await createRemediate({ cluster })(action, {
        signal: AbortSignal.timeout(60_000),
        onStep: () => undefined,
        recall: async () => null,
      });
      await cluster.close();
      // What the agent had started when it died may still be at it.
      await until(() => running() === 0, 'the end of what the agent had started');
      const isClaimed = existsSync(join(root, 'var/lib/netcheck/claims', id));
      const effects = linesOf('effects');
      step('');
      // The fault is back: nothing but the claim keeps what is delivered again from acting.
      writeFileSync(join(root, 'netconf'), JSON.stringify(OFF));
      await Promise.all([deliver(action), deliver(action), deliver(action)]);
      const now = linesOf('effects');
      expect({ at, isClaimed, now }).toEqual({ at, isClaimed: at !== 'before claimed', now: isClaimed ? effects : 1 });
      expect(now).toBeLessThanOrEqual(1);
      // What was heard before the agent died is believed; else the outcome is unknown, never a success or a refusal.
      expect(outcome.outcome).toBe(at === 'after done' ? expectedWhenHeard(effects) : 'outcome-unknown');
      crashed += 1;
    }
  },
  60_000 + crashes * 20_000,
);

function expectedWhenHeard(effects: number): RemedyOutcome['outcome'] {
  expect(effects).toBe(1);
  return 'healed';
}

test('of many orders that come to a node at once one takes effect', async ({ task }) => {
  const orders = count(100, 1_000);
  const action = approved(makeAction({ ...plan, cluster: broken.run.cluster }), keys);
  const statuses = await Promise.all(Array.from({ length: orders }, () => deliver(action)));
  expect([statuses.filter((status) => status === 0).length, linesOf('effects')]).toEqual([1, 1]);
  proves(task, 7, `${orders} orders at once, 1 effect`);
}, 120_000);

test('every crash was tried', ({ task }) => {
  expect(crashed).toBe(STEPS.length * crashes);
  proves(task, 7, `${crashed} crashes of the agent at ${STEPS.length} steps, 0 ran twice, 0 untrue outcomes`);
});
