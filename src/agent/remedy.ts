import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import { type Action, approvalBytes, canonicalJson, digestOf, neededOf } from '../model/remedy.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { RemedyOrder, type RemedyReport } from '../model/wire/remedy.ts';
import { carryOut, type Ledger, type States } from '../remedies/carry-out.ts';
import { createHost } from './host.ts';

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

const Kept = z.object({ action: z.string(), remedy: z.string(), params: z.record(z.string(), z.string()), state: z.unknown() });

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
  const { root, node } = options;
  return carryOut(order.action, { place: 'node', where: node, host: createHost(root), ledger: createLedger(root), say });
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
  if (![action.id, action.undoes ?? action.id].every((id) => /^[A-Za-z0-9-]{1,64}$/.test(id)))
    return 'the action has no proper id';
  if (action.cluster !== cluster) return `the action is for the cluster ${action.cluster}`;
  if (action.target.node !== node) return `the action is for the node ${action.target.node}, this is ${node}`;
  const digest = digestOf(action);
  if (digest !== action.digest) return 'the action is not the one that its digest was made of';
  const valid = action.approvals.filter(({ signature, ...approval }) => {
    const covers = approval.action === action.id && approval.cluster === cluster && approval.digest === digest;
    return covers && verify(null, approvalBytes(approval), key, Buffer.from(signature, 'base64'));
  });
  if (valid.length === 0) return 'no approval of this action has a valid signature';
  const current = valid.filter(({ expiresAt }) => expiresAt + CLOCK_SKEW_MS >= clock());
  if (current.length === 0) return "the approval has expired by this node's clock";
  const people = new Set(current.map(({ by }) => by.user)).size;
  const needed = neededOf(action, current);
  return people < needed ? `${people} of the ${needed} approvals that this action needs are signed and still hold` : null;
}

/** The claims and the states of actions, as files on the host. */
function createLedger(root: string): Ledger {
  return {
    claim: (action) => claim(root, action),
    keep: (action, which, state) =>
      write(
        root,
        `${action.id}.${which}.json`,
        JSON.stringify({ action: action.id, remedy: action.remedy, params: action.params, state }),
      ),
    recall: async (action) => {
      const [prior, after] = (['prior', 'after'] as const).map((which) => recalled(root, action, which));
      return prior === undefined || after === undefined ? null : { prior: prior.state, after: after.state };
    },
  };
}

function recalled(root: string, action: Action, which: keyof States): { readonly state: unknown } | undefined {
  try {
    const kept = Kept.parse(JSON.parse(readFileSync(join(root, CLAIMS, `${action.undoes}.${which}.json`), 'utf8')));
    const isSame = kept.remedy === action.remedy && canonicalJson(kept.params) === canonicalJson(action.params);
    return isSame ? kept : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
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
    // Not one write: on a disk that is nearly full that may end early, without an error.
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Reads the public key that approvals are verified with; throws when there is none. */
export function readPublicKey(file: string): string {
  return readFileSync(file, 'utf8');
}
