import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Citation } from '../model/finding.ts';
import { type Action, approvalBytes, digestOf } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { messageOf } from '../model/text.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyOrder, type RemedyReport } from '../model/wire/remedy.ts';
import { REMEDIES } from '../remedies/index.ts';
import type { AnyRemedy, Host } from '../remedies/remedy.ts';
import { createProcesses, runCommand } from './command.ts';

export type RemedyAgentOptions = {
  readonly input: Readable;
  readonly output: Writable;
  /** The host's root file system; claims and prior states lie below it. */
  readonly root: string;
  /** The name of the node that this agent is on. */
  readonly node: string;
  /** The bot's public key, PEM: what approvals are verified with. */
  readonly publicKey: string;
  /** Wall-clock time in milliseconds. */
  readonly clock: () => number;
};

/** Where a node remembers which actions it has begun. */
const CLAIMS = 'var/lib/netcheck/claims';

/** The clocks of a node and of Redis may differ by so much, in milliseconds. */
const CLOCK_SKEW_MS = 5 * 60_000;

const COMMAND = { deadlineMs: 10_000, maxBytes: 1024 * 1024 };

/**
 * Carries out one approved action, at most once: verifies the approval, claims the action with a file on the host, reads
 * the state again, and only if the finding still holds runs the commands. Once claimed it goes on even when the worker
 * is gone. Resolves with the exit status; rejects, before it says anything, when the public key cannot be used.
 */
export async function serveRemedy(options: RemedyAgentOptions): Promise<number> {
  const key = createPublicKey(options.publicKey);
  const say = (report: RemedyReport): void => void options.output.write(encodeFrame(report));
  say({ type: 'ready', node: options.node });
  const order = await readOrder(options.input);
  if (order === null) {
    say({ type: 'refused', reason: 'the order is not one that this agent understands', before: [] });
    return 2;
  }
  const refusal = refusalOf(order, options, key);
  if (refusal !== null) {
    say({ type: 'refused', reason: refusal, before: [] });
    return 1;
  }
  return carryOut(order.action, options, say);
}

async function readOrder(input: Readable): Promise<RemedyOrder | null> {
  const frames = createFrameReader(MAX_FRAME_BYTES);
  for await (const chunk of input as AsyncIterable<Buffer>) {
    const values = frames.push(chunk);
    if ('kind' in values) return null;
    const [value] = values;
    if (value === undefined) continue;
    const order = RemedyOrder.safeParse(value);
    return order.success ? order.data : null;
  }
  return null;
}

/** Why an order is refused before anything is touched, or null. */
function refusalOf({ cluster, action }: RemedyOrder, { node, clock }: RemedyAgentOptions, key: KeyObject): string | null {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(action.id)) return 'the action has no proper id';
  if (action.cluster !== cluster) return `the action is for the cluster ${action.cluster}`;
  if (action.target.node !== node) return `the action is for the node ${action.target.node}, this is ${node}`;
  const digest = digestOf(action);
  if (digest !== action.digest) return 'the action is not the one that its digest was made of';
  const valid = action.approvals.filter(({ signature, ...approval }) => {
    const covers = approval.action === action.id && approval.cluster === cluster && approval.digest === digest;
    return covers && verify(null, approvalBytes(approval), key, Buffer.from(signature, 'base64'));
  });
  if (valid.length === 0) return 'no approval of this action has a valid signature';
  if (valid.every(({ expiresAt }) => expiresAt + CLOCK_SKEW_MS < clock())) return "the approval has expired by this node's clock";
  return null;
}

async function carryOut(
  action: Action,
  { root, node }: RemedyAgentOptions,
  say: (report: RemedyReport) => void,
): Promise<number> {
  const remedy: AnyRemedy | undefined = Object.hasOwn(REMEDIES, action.remedy) ? REMEDIES[action.remedy] : undefined;
  const refuse = (reason: string, before: Citation[] = []): number => {
    say({ type: 'refused', reason, before });
    return 1;
  };
  if (remedy === undefined) return refuse(`this agent knows no remedy ${action.remedy}`);
  const params = remedy.params.safeParse(action.params);
  if (!params.success) return refuse(`the parameters are not those of ${action.remedy}`);
  const commands = remedy.commands(params.data);
  if (JSON.stringify(commands) !== JSON.stringify(action.commands))
    return refuse('the commands that were approved are not those of this version of the agent');
  if (!claim(root, action)) return refuse('this action has been begun on this node before');
  say({ type: 'claimed' });
  const host = createHost();
  const cited = (state: unknown): Citation[] => remedy.describe(params.data, state).map((item) => ({ where: node, ...item }));
  const read = await attempt((): Promise<unknown> => remedy.read(params.data, host));
  if (!read.ok) return refuse(`the state cannot be read: ${read.error}`);
  const prior = read.value;
  const before = cited(prior);
  const obsolete = remedy.obsolete(params.data, prior);
  if (obsolete !== null) return refuse(`the finding no longer holds: ${obsolete}`, before);
  write(root, `${action.id}.prior.json`, JSON.stringify({ action: action.id, remedy: remedy.id, params: params.data, prior }));
  say({ type: 'acting', before });
  const ran = await attempt(async () => {
    for (const argv of commands) await host.run(argv);
  });
  // What ran is done, whether or not the state can be read again: the probes say whether it helped.
  const later = await attempt((): Promise<unknown> => remedy.read(params.data, host));
  const undo = remedy.undoCommands(params.data, prior).map((argv) => [...argv]);
  say({ type: 'done', before, after: later.ok ? cited(later.value) : [], error: ran.ok ? null : ran.error, undo });
  return ran.ok ? 0 : 1;
}

function createHost(): Host {
  const processes = createProcesses();
  return {
    async run(argv) {
      const evidence = await runCommand(argv, COMMAND, processes);
      if (evidence.exitCode !== 0)
        throw new Error(
          `${argv.join(' ')}: ${evidence.fault ?? `exit status ${evidence.exitCode}`} ${evidence.stderr.trim()}`.trim(),
        );
      return evidence.stdout;
    },
  };
}

/** What some work returned, or what it failed with, in words. */
async function attempt<T>(work: () => Promise<T>): Promise<Result<T, string>> {
  try {
    return ok(await work());
  } catch (error) {
    return fail(messageOf(error));
  }
}

/** Marks an action as begun; false when it has been begun before. The mark is on disk before anything is done. */
function claim(root: string, action: Action): boolean {
  mkdirSync(join(root, CLAIMS), { recursive: true, mode: 0o700 });
  try {
    write(root, action.id, JSON.stringify({ action: action.id, digest: action.digest }));
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Creates a file among the claims and waits until it is on disk; fails when it exists. */
function write(root: string, name: string, text: string): void {
  const file = openSync(join(root, CLAIMS, name), 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Reads the public key that approvals are verified with; throws when there is none. */
export function readPublicKey(file: string): string {
  return readFileSync(file, 'utf8');
}
