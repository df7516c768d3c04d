import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serveRemedy } from '../../src/agent/remedy.ts';
import { Action, type RemedyPlan } from '../../src/model/remedy.ts';
import { encodeFrame } from '../../src/model/wire/frames.ts';
import { restartFlannel } from '../../src/remedies/restart-flannel/index.ts';
import { makeApprovalKeys, PLAN } from '../action.ts';
import { createRandom } from '../chaos/random.ts';
import { temporaryFolder } from '../folder.ts';
import { startRedis, type TestRedis } from '../redis.ts';
import { CLUSTER, createApprovedActions } from './approved-actions.ts';
import { count, proves } from './counts.ts';

/*
 * An approved action, as it lies in Redis and as it comes to a node, with every field of it changed in turn: nobody but
 * the people who approved it decides what runs. Then approvals that are about to be over when their job is taken up.
 */

const folder = temporaryFolder();
const keys = makeApprovalKeys();

let server: TestRedis;
let redis: Redis;
let approved: ReturnType<typeof createApprovedActions>;

beforeAll(async () => {
  server = await startRedis(['--appendfsync', 'no']);
  redis = new Redis(server.url);
  approved = createApprovedActions(redis, folder, keys);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});

const target = { namespace: 'kube-flannel', pod: 'kube-flannel-ds-x7k2p', uid: '1b3c' };

/** One plan for each place where remedies act, with everything that a plan can have. */
const PLANS: Readonly<Record<'node' | 'api', RemedyPlan>> = {
  node: {
    ...PLAN,
    onFailure: [['sysctl', '-w', 'net/ipv4/ip_forward=0']],
    irreversible: 'nothing',
    undoes: 'a0000000001',
    finding: { ...PLAN.finding, evidence: [{ where: 'node-2', source: 'ip', text: 'off' }] },
  },
  api: {
    ...PLAN,
    remedy: restartFlannel.id,
    title: restartFlannel.title,
    params: target,
    commands: restartFlannel.commands(target).map((argv) => [...argv]),
    riskClass: restartFlannel.riskClass,
  },
};

function approvedAction(plan: RemedyPlan, forMs?: number): Promise<string> {
  return approved.approve(plan, forMs);
}

/** Has a worker execute an action, with an audit of its own. Returns what came to be carried out. */
async function executed(id: string): Promise<Action[]> {
  return approved.execute(id, join(await mkdtemp(join(folder, 'a-')), 'audit.jsonl'));
}

type Path = readonly (string | number)[];

/** Every place in a value, itself and containers too. */
function placesIn(value: unknown, path: Path = []): readonly Path[] {
  if (value === null || typeof value !== 'object') return [path];
  return [
    path,
    ...Object.entries(value).flatMap(([key, item]) => placesIn(item, [...path, Array.isArray(value) ? Number(key) : key])),
  ];
}

/** A value with what lies at a path replaced; `undefined` removes it. */
function replaced(value: unknown, path: Path, change: (old: unknown) => unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return change(value);
  if (Array.isArray(value))
    return value.flatMap((item: unknown, index) => {
      if (index !== key) return [item];
      const next = replaced(item, rest, change);
      return next === undefined ? [] : [next];
    });
  return { ...(value as object), [key]: replaced((value as Record<string, unknown>)[key], rest, change) };
}

/** Other values for one: of its own form, missing, and of another form. */
function othersFor(value: unknown): readonly unknown[] {
  if (typeof value === 'string') return [`${value}x`, '', undefined];
  if (typeof value === 'number') return [value + 1, value - 1, 0, undefined];
  if (value === null) return ['x', undefined];
  if (Array.isArray(value)) return [[], [...value, ...value], value.toReversed(), undefined];
  return [{}, { ...(value as object), extra: 'x' }, undefined];
}

/** Every change of one place of a value that changes it at all. */
function changesOf(value: unknown): readonly { readonly at: string; readonly changed: unknown }[] {
  const text = JSON.stringify(value);
  return placesIn(value).flatMap((path) => {
    let old: unknown;
    replaced(value, path, (here) => (old = here));
    return othersFor(old).flatMap((other) => {
      const changed = replaced(value, path, () => other);
      return JSON.stringify(changed) === text ? [] : [{ at: `${path.join('.')} = ${JSON.stringify(other)}`, changed }];
    });
  });
}

/** The action as it has to be when it is carried out, whatever was written beside it. */
function contentOf({ approvals, ...content }: Action): unknown {
  return { ...content, approvedBy: [...new Set(approvals.map(({ by }) => by.user))].toSorted() };
}

/** Reads a field of the stored record of an action. */
async function storedField(id: string, field: string): Promise<unknown> {
  return JSON.parse((await redis.hget(`nc:${CLUSTER}:action:${id}`, field)) ?? '');
}

async function storedAction(id: string): Promise<Action> {
  const read = await approved.actions.get(id);
  if (!read.ok || read.value === null) throw new Error('not stored');
  return read.value.action;
}

const PLACES = ['node', 'api'] as const;
const FIELDS = ['action', 'approvals'] as const;

test.for(PLACES.flatMap((place) => FIELDS.map((field) => [place, field] as const)))(
  'what was changed in Redis after it was approved does not run, whatever was changed: %s, %s',
  { timeout: 240_000 },
  async ([place, field], { task }) => {
    const different: string[] = [];
    let [tried, refused] = [0, 0];
    for (;;) {
      const id = await approvedAction(PLANS[place]);
      const original = await storedAction(id);
      const change = changesOf(await storedField(id, field))[tried];
      if (change === undefined) break;
      tried += 1;
      await redis.hset(`nc:${CLUSTER}:action:${id}`, field, JSON.stringify(change.changed));
      const ran = await executed(id);
      refused += ran.length === 0 ? 1 : 0;
      // The same approvals twice, in another order, or with something after a signature are the same approvals: then exactly what was approved may run.
      if (ran.some((action) => !isDeepStrictEqual(contentOf(action), contentOf(original)))) different.push(change.at);
    }
    expect(different).toEqual([]);
    expect([tried > 20, tried - refused < 10]).toEqual([true, true]);
    expect(await executed(await approvedAction(PLANS[place]))).toHaveLength(1);
    proves(task, 9, `${tried} changes of stored fields, 0 ran differently`);
  },
);

test('what was changed on the way to its node is refused there before anything is touched, whatever was changed', async ({
  task,
}) => {
  const id = await approvedAction(PLANS.node);
  const original = await storedAction(id);
  const serve = async (action: unknown): Promise<{ readonly root: string; readonly said: string }> => {
    const [root, input, output] = [await mkdtemp(join(folder, 'root-')), new PassThrough(), new PassThrough()];
    input.end(encodeFrame({ cluster: CLUSTER, action }));
    await serveRemedy({ input, output, root, node: 'node-2', publicKey: keys.publicKey, clock: Date.now });
    return { root, said: String(output.read()) };
  };
  const changes = changesOf(original);
  const touched: string[] = [];
  for (const { at, changed } of changes) {
    const action = Action.safeParse(changed);
    const isSame = action.success && isDeepStrictEqual(contentOf(action.data), contentOf(original));
    const { root, said } = await serve(changed);
    if (!isSame && (existsSync(join(root, 'var')) || !said.includes('"refused"'))) touched.push(at);
  }
  expect(touched).toEqual([]);
  // Nothing but the action that it undoes, of which this node knows nothing, is wrong with what was not changed.
  expect((await serve(original)).said).toContain('is not known here: it cannot be undone');
  proves(task, 9, `${changes.length} changes on the way to the node, 0 touched anything`);
});

test('nothing starts after its approval is over', async ({ task }) => {
  const tries = count(60, 1_000);
  const random = createRandom(9);
  const late: string[] = [];
  let ran = 0;
  let forMs = 1;
  for (let time = 0; time < tries; time += 1) {
    const id = await approvedAction(PLANS.node, Math.round(forMs));
    // Whoever can write into Redis makes the time longer; what is signed stays as it is.
    if (random() < 0.5) await redis.hset(`nc:${CLUSTER}:action:${id}`, 'startBy', Date.now() + 3_600_000);
    const acted = await executed(id);
    const read = await approved.actions.get(id);
    const record = read.ok ? read.value : null;
    const until = Math.min(...(record?.action.approvals.map(({ expiresAt }) => expiresAt) ?? [0]));
    ran += acted.length;
    // As long as it takes: what comes next is as likely to be in time as late, on a fast machine and on a busy one.
    forMs *= acted.length > 0 ? 0.7 : 1.6;
    if (acted.length > 0 && (record?.startBy ?? 0) <= until && (record?.startedAt ?? 0) > until) late.push(id);
  }
  expect(late).toEqual([]);
  expect([ran > 1, ran < tries]).toEqual([true, true]);
  proves(task, 9, `${tries} approvals about to be over, ${ran} started in time, 0 late`);
}, 240_000);
