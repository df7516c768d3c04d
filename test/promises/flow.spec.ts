import { deepStrictEqual } from 'node:assert/strict';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../folder.ts';
import { startRedis, type TestRedis } from '../redis.ts';
import { count, proves } from './counts.ts';
import { createFlow, type Flow, OFFERS } from './flow.ts';
import {
  createReference,
  type Edit,
  type End,
  type How,
  happen,
  PEOPLE,
  type Reference,
  type Switch,
  seen,
  type Who,
} from './flow-reference.ts';

const SEQUENCES = count(120, 10_000);
const LENGTH = 40;

const folder = temporaryFolder();
let server: TestRedis;
let redis: Redis;

beforeAll(async () => {
  // No test of what is on disk: without waiting for it thousands of sequences are done in minutes.
  server = await startRedis(['--appendfsync', 'no']);
  redis = new Redis(server.url);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});

/** One thing that happens, to the reference and to the product; what they say and what can be seen then has to be equal. */
class Step {
  private readonly words: string;
  private readonly which: number;
  private readonly inReference: (world: Reference, index: number) => unknown;
  private readonly inProduct: (flow: Flow, index: number) => unknown;

  constructor(
    words: string,
    which: number,
    inReference: (world: Reference, index: number) => unknown,
    inProduct: (flow: Flow, index: number) => unknown,
  ) {
    this.words = words;
    this.which = which;
    this.inReference = inReference;
    this.inProduct = inProduct;
  }

  async run(world: Reference, flow: Flow): Promise<void> {
    const index = Math.max(0, world.entries.length - 1 - this.which);
    const expected = this.inReference(world, index);
    deepStrictEqual(await this.inProduct(flow, index), expected);
    deepStrictEqual(await flow.seen(), seen(world));
  }

  [fc.toStringMethod](): string {
    return this.words;
  }
}

const who = fc.constantFrom<Who>(...PEOPLE, 'ann', 'bob', 'bob');
/** Counted from the latest one, of which most is to happen: `which` says how many were requested after it. */
const which = fc.constantFrom(0, 0, 0, 1, 1, 2);
const flag = fc.boolean();
const rarely = fc.nat(7).map((number) => number === 0);

const request = fc.tuple(who, fc.constantFrom(...OFFERS)).map(
  ([by, offer]) =>
    new Step(
      `${by} requests ${offer}`,
      0,
      (w) => happen.request(w, by, offer),
      (f) => f.request(by, offer),
    ),
);
const approver = fc.constantFrom<Who>('bob', 'bob', 'bob', 'bob', 'cara', 'cara', 'ann', 'guest');
const how = fc.record({ withReason: flag, isStale: rarely, isGlass: rarely });
const approve = fc.tuple(approver, which, how).map(
  ([by, of, as]) =>
    new Step(
      `${by} ${as.isGlass ? 'breaks the glass for' : 'approves'} -${of}${as.withReason ? ' with a reason' : ''}${as.isStale ? ', for no time at all' : ''}`,
      of,
      (w, i) => happen.approve(w, by, i, as),
      (f, i) => f.approve(by, i, as),
    ),
);
const deny = fc.tuple(who, which, flag).map(
  ([by, of, reason]) =>
    new Step(
      `${by} denies -${of}${reason ? ' with a reason' : ''}`,
      of,
      (w, i) => happen.deny(w, by, i, reason),
      (f, i) => f.deny(by, i, reason),
    ),
);
const undo = fc.tuple(fc.constantFrom<Who>('ann', 'ann', 'ann', 'bob', 'guest'), which).map(
  ([by, of]) =>
    new Step(
      `${by} asks to undo -${of}`,
      of,
      (w, i) => happen.undo(w, by, i),
      (f, i) => f.undo(by, i),
    ),
);
const finish = fc
  .tuple(which, fc.constantFrom<End>('healed', 'healed', 'not-healed', 'refused', 'outcome-unknown', 'throws'))
  .map(
    ([of, end]) =>
      new Step(
        `-${of} ends: ${end}`,
        of,
        (w, i) => happen.finish(w, i, end),
        (f, i) => f.finish(i, end),
      ),
  );
const edit = fc.tuple(which, fc.constantFrom<Edit>('text', 'text and digest', 'unreadable')).map(
  ([of, how]) =>
    new Step(
      `-${of} is edited: ${how}`,
      of,
      (w, i) => happen.edit(w, i, how),
      (f, i) => f.edit(i, how),
    ),
);
const configure = fc
  .constantFrom<Switch>(
    'bob',
    'cara',
    'self-approval',
    'two approvals',
    'two approvals',
    'glass',
    'glass',
    'quiet hours',
    'audit',
  )
  .map(
    (what) =>
      new Step(
        `${what}: switched`,
        0,
        (w) => happen.configure(w, what),
        (f) => f.configure(what),
      ),
  );

/** What happens to one remedy and needs no more words. */
function plain(words: string, name: 'deliver' | 'crash' | 'supersede' | 'wait' | 'sweep' | 'forge') {
  return which.map(
    (of) =>
      new Step(
        words.replace('IT', `-${of}`),
        of,
        (w, i) => happen[name](w, i),
        (f, i) => f[name](i),
      ),
  );
}

const deliver = plain('a worker gets the job for IT', 'deliver');
const usual = [request, approve, approve, deliver, deliver, finish, undo];
const happenings = [
  ...Array.from({ length: 8 }, () => usual).flat(),
  deny,
  plain('the worker of IT dies', 'crash'),
  plain('IT is superseded', 'supersede'),
  plain('the time of IT passes', 'wait'),
  plain('what is over is closed', 'sweep'),
  plain('IT is forged', 'forge'),
  edit,
  configure,
  configure,
  configure,
];

const BOB: How = { withReason: false, isStale: false, isGlass: false };

/** What most often happens, up to the undoing of a remedy: a walk of pure chance seldom comes that far. */
const STORY: readonly Step[] = [false, true].flatMap((isUndo) => [
  ...(isUndo
    ? [
        new Step(
          'ann asks to undo -0',
          0,
          (w, i) => happen.undo(w, 'ann', i),
          (f, i) => f.undo('ann', i),
        ),
      ]
    : []),
  new Step(
    'bob approves -0',
    0,
    (w, i) => happen.approve(w, 'bob', i, BOB),
    (f, i) => f.approve('bob', i, BOB),
  ),
  new Step(
    'a worker gets the job for -0',
    0,
    (w, i) => happen.deliver(w, i),
    (f, i) => f.deliver(i),
  ),
  new Step(
    '-0 ends: healed',
    0,
    (w, i) => happen.finish(w, i, 'healed'),
    (f, i) => f.finish(i, 'healed'),
  ),
]);

/** Sequences of one length, after a part of the story, of which steps are left out to find a short one that fails. */
const sequences = fc
  .tuple(
    fc.nat(STORY.length),
    fc.array(fc.option(fc.oneof(...happenings), { freq: 30, nil: null }), { minLength: LENGTH, maxLength: LENGTH }),
  )
  .map(([told, steps]) => [...STORY.slice(0, told), ...steps.filter((step) => step !== null)]);

test(
  'whatever happens to remedies in whatever order, they are what the reference says',
  async ({ task }) => {
    let acted = 0;
    let undone = 0;
    await fc.assert(
      fc.asyncProperty(sequences, async (steps) => {
        const [world, flow] = [createReference(), await createFlow(redis, folder)];
        for (const offer of OFFERS) expect(await flow.request('ann', offer)).toBe(happen.request(world, 'ann', offer));
        for (const step of steps) await step.run(world, flow);
        // Workers that were only thought dead come to their end as well: nothing of it shows but what is still expected.
        for (const index of world.entries.keys()) {
          happen.finish(world, index, 'healed');
          await flow.finish(index, 'healed');
        }
        expect(await flow.seen()).toEqual(seen(world));
        expect(world.entries.filter(({ effects }) => effects > 1)).toEqual([]);
        expect(await flow.verifyAudit()).toMatchObject({ ok: true });
        acted += world.entries.filter(({ effects }) => effects === 1).length;
        undone += world.entries.filter(({ undoes, effects }) => undoes !== null && effects === 1).length;
      }),
      { numRuns: SEQUENCES, endOnFailure: false, ...seeded() },
    );
    // A walk that never comes to the point proves nothing.
    expect([acted, undone]).toEqual([expect.toSatisfy((n) => n > SEQUENCES / 5), expect.toSatisfy((n) => n > SEQUENCES / 1000)]);
    proves(task, 8, `${SEQUENCES} sequences of requests, clicks, crashes and forgeries, ${acted} remedies run, ${undone} undone`);
  },
  300_000 + SEQUENCES * 1_000,
);

/** The seed of a run that is to be repeated; otherwise always another one, as fast-check says when it fails. */
function seeded(): { readonly seed?: number } {
  const seed = process.env['NETCHECK_SEED'];
  return seed === undefined ? {} : { seed: Number(seed) };
}
