import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { temporaryFolder } from '../../test/folder.ts';
import { startRedis, type TestRedis } from '../../test/redis.ts';
import { plansFor, readVerdict } from '../../test/verdicts.ts';
import { digestOf, type RemedyOutcome } from '../model/remedy.ts';
import { type ActionStore, createActionStore } from './actions.ts';
import { createAuditFile, readAudit, readAuditHead, verifyAudit } from './audit.ts';
import { newId } from './ids.ts';
import { closeRedis, connectRedis } from './redis.ts';

const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const requester = { user: 'U1', team: 'T1' };
const approver = { user: 'U2', team: 'T1' };
const healed: RemedyOutcome = { outcome: 'healed', reason: null, before: [], after: [], verified: [], undo: [['true']] };

let server: TestRedis;
let redis: Redis;
let actions: ActionStore;
const directory = temporaryFolder();

beforeAll(async () => {
  server = await startRedis();
  redis = connectRedis(server.url, 'patient', silent);
  actions = createActionStore(redis, 'lab');
});
afterAll(async () => {
  closeRedis(redis);
  await server.close();
});
beforeEach(async () => {
  await redis.flushall();
});

async function request(approveMs = 60_000, approvalsNeeded = 1): Promise<string> {
  const [plan] = plansFor(readVerdict('ip-forward-off'));
  if (plan === undefined) throw new Error('the recording offers no remedy');
  return (await actions.request({ id: newId('a'), run: 'r1', channel: 'C1', plan, by: requester, approvalsNeeded }, approveMs))
    .id;
}

/** Approves as somebody; the approval holds for so many milliseconds. */
async function approve(
  id: string,
  by = approver,
  options: { startMs?: number; breakGlass?: string; selfApproval?: boolean } = {},
) {
  const expiresAt = (await actions.now()) + (options.startMs ?? 60_000);
  const { breakGlass, selfApproval = false } = options;
  return actions.approve(
    id,
    by,
    ({ digest }, isLast) => ({
      action: id,
      cluster: 'lab',
      digest,
      by,
      expiresAt: isLast ? expiresAt : expiresAt + 1_000,
      signature: 's',
      ...(breakGlass === undefined ? {} : { breakGlass }),
    }),
    { selfApproval, detail: breakGlass === undefined ? {} : { breakGlass: 'yes' } },
  );
}

async function trail(): Promise<string[]> {
  return (await readAudit(redis, 'lab', 0)).map((line) => String(JSON.parse(line).event));
}

async function verify(file: string[] | null = null) {
  return verifyAudit(await readAudit(redis, 'lab', 0), await readAuditHead(redis, 'lab'), file);
}

test('an action goes from request to outcome, and every step is in the audit', async () => {
  const id = await request();
  const stored = await actions.get(id);
  if (!stored.ok || stored.value === null) throw new Error('not stored');
  expect(stored.value).toMatchObject({
    state: 'requested',
    channel: 'C1',
    revision: 1,
    action: { approvals: [] },
    outcome: null,
  });
  expect(stored.value.action.digest).toBe(digestOf(stored.value.action));
  expect(await approve(id)).toEqual({ ok: true, value: 'approved' });
  expect(await actions.start(id, 'w1')).toEqual({ ok: true, value: 'started' });
  expect(await actions.end(id, healed)).toEqual({ ok: true, value: 'done' });
  expect(await actions.get(id)).toMatchObject({
    value: { state: 'done', revision: 4, outcome: healed, closedAt: expect.any(Number) },
  });
  expect(await trail()).toEqual(['requested', 'approved', 'started', 'done']);
  expect(await verify()).toEqual({ ok: true, value: { lines: 4 } });
  expect(Math.round((await redis.ttl(`nc:lab:action:${id}`)) / 86_400)).toBe(90);
});

test('the same remedy on the same thing is open only once, and can be asked for again when that is closed', async () => {
  const id = await request();
  expect(await request()).toBe(id);
  expect(await actions.deny(id, approver, 'not now')).toEqual({ ok: true, value: 'denied' });
  expect(await request()).not.toBe(id);
  expect(await trail()).toEqual(['requested', 'denied', 'requested']);
});

test('two approvals are those of two people, neither of whom requested it; only the second one lets it run', async () => {
  const id = await request(60_000, 2);
  const second = { user: 'U3', team: 'T1' };
  expect(await approve(id, requester)).toEqual({ ok: false, error: { kind: 'own' } });
  expect(await approve(id)).toEqual({ ok: true, value: 'requested' });
  expect(await actions.start(id, 'w')).toEqual({ ok: false, error: { kind: 'state', state: 'requested' } });
  expect(await approve(id)).toEqual({ ok: false, error: { kind: 'again' } });
  expect(await actions.get(id)).toMatchObject({
    value: { state: 'requested', revision: 2, startBy: null, action: { approvals: [{ by: approver }] } },
  });
  expect(await approve(id, second)).toEqual({ ok: true, value: 'approved' });
  const read = await actions.get(id);
  if (!read.ok || read.value === null) throw new Error('not stored');
  const { action, startBy } = read.value;
  expect([action.approvals.map(({ by }) => by), startBy]).toEqual([[approver, second], action.approvals[1]?.expiresAt]);
  expect((await readAudit(redis, 'lab', 0)).map((line) => [JSON.parse(line).event, JSON.parse(line).detail.approvals])).toEqual([
    ['requested', undefined],
    ['approval', '1 of 2'],
    ['approved', '2 of 2'],
  ]);
  expect(await verify()).toMatchObject({ ok: true });
});

test('of a thousand approvals at once each person counts once, and the last one needed lets it run', async () => {
  const id = await request(60_000, 2);
  const people = ['U2', 'U3', 'U4', 'U5', 'U1'].map((user) => ({ user, team: 'T1' }));
  const said = await Promise.all(Array.from({ length: 1_000 }, (_, index) => approve(id, people[index % people.length])));
  expect(said.flatMap((one) => (one.ok ? [one.value] : []))).toEqual(expect.arrayContaining(['requested', 'approved']));
  expect(said.filter((one) => one.ok)).toHaveLength(2);
  const read = await actions.get(id);
  const users = read.ok ? (read.value?.action.approvals ?? []).map(({ by }) => by.user) : [];
  expect([new Set(users).size, users.includes('U1'), await trail()]).toEqual([2, false, ['requested', 'approval', 'approved']]);
});

test('where self-approval is allowed the requester is one of two, not both', async () => {
  const id = await request(60_000, 2);
  expect(await approve(id, requester, { selfApproval: true })).toEqual({ ok: true, value: 'requested' });
  expect(await approve(id, requester, { selfApproval: true })).toEqual({ ok: false, error: { kind: 'again' } });
  expect(await approve(id, approver, { selfApproval: true })).toEqual({ ok: true, value: 'approved' });
});

test('whoever breaks the glass is enough, also when they approved before', async () => {
  const id = await request(60_000, 2);
  await approve(id);
  expect(await approve(id, requester, { breakGlass: 'now' })).toEqual({ ok: false, error: { kind: 'own' } });
  expect(await approve(id, approver, { breakGlass: 'the site is down' })).toEqual({ ok: true, value: 'approved' });
  expect(await actions.get(id)).toMatchObject({
    value: { state: 'approved', action: { approvals: [{ by: approver, breakGlass: 'the site is down' }] } },
  });
  const [, , line = '{}'] = await readAudit(redis, 'lab', 0);
  expect(JSON.parse(line)).toMatchObject({ event: 'approved', detail: { approvals: '1 of 2', breakGlass: 'yes' } });
});

test('a request that has one of its approvals can be denied, expire and become pointless', async () => {
  const ends = [];
  for (const end of ['deny', 'expire', 'supersede'] as const) {
    const id = await request(end === 'expire' ? 300 : 60_000, 2);
    expect(await approve(id)).toEqual({ ok: true, value: 'requested' });
    if (end === 'deny') await actions.deny(id, approver, 'no');
    if (end === 'supersede') await actions.supersede(id, 'healed');
    if (end === 'expire') {
      const read = await actions.get(id);
      if (!read.ok || read.value === null) throw new Error('not stored');
      const record = read.value;
      await vi.waitUntil(async () => (await actions.expire(record, 1_000)) !== null, { timeout: 5_000, interval: 20 });
    }
    const after = await actions.get(id);
    ends.push(after.ok && after.value?.state);
    expect(await approve(id, { user: 'U3', team: 'T1' })).toMatchObject({ ok: false, error: { kind: 'state' } });
  }
  expect(ends).toEqual(['denied', 'expired', 'superseded']);
});

test('of a thousand concurrent approvals and starts one has an effect', async () => {
  const id = await request();
  const approvals = await Promise.all(Array.from({ length: 1_000 }, () => approve(id)));
  const starts = await Promise.all(Array.from({ length: 1_000 }, (_, index) => actions.start(id, `w${index}`)));
  expect([approvals, starts].map((all) => all.filter((one) => one.ok).length)).toEqual([1, 1]);
  expect(await trail()).toEqual(['requested', 'approved', 'started']);
  expect(await verify()).toMatchObject({ ok: true });
});

test('steps out of order are refused and leave no line in the audit', async () => {
  const id = await request();
  expect(await actions.start(id, 'w')).toEqual({ ok: false, error: { kind: 'state', state: 'requested' } });
  expect(await actions.end(id, healed)).toEqual({ ok: false, error: { kind: 'state', state: 'requested' } });
  await actions.deny(id, approver, 'no');
  expect(await approve(id)).toEqual({ ok: false, error: { kind: 'state', state: 'denied' } });
  expect(await approve(newId('a'))).toEqual({ ok: false, error: { kind: 'gone' } });
  expect(await trail()).toEqual(['requested', 'denied']);
});

test("approval and start are bound to their times on Redis's clock", async () => {
  const late = await request(-1);
  expect(await approve(late)).toEqual({ ok: false, error: { kind: 'late', state: 'requested' } });
  const read = await actions.get(late);
  if (!read.ok || read.value === null) throw new Error('not stored');
  expect(await actions.expire(read.value, 1_000)).toBe('expired');
  const stale = await request();
  await approve(stale, approver, { startMs: -1 });
  expect(await actions.start(stale, 'w')).toEqual({ ok: false, error: { kind: 'late', state: 'approved' } });
  expect(await trail()).toEqual(['requested', 'expired', 'requested', 'approved']);
});

test('what was started and never ended has an unknown outcome, and not before its time', async () => {
  const id = await request();
  await approve(id);
  await actions.start(id, 'w');
  const read = await actions.get(id);
  if (!read.ok || read.value === null) throw new Error('not stored');
  expect([await actions.expire(read.value, 60_000), await actions.expire(read.value, -1)]).toEqual([null, 'outcome-unknown']);
  expect(await actions.end(id, healed)).toEqual({ ok: false, error: { kind: 'state', state: 'outcome-unknown' } });
});

test('an action whose worker died was not done, or has an unknown outcome', async () => {
  const waiting = await request();
  await approve(waiting);
  expect(await actions.lose(waiting)).toEqual({ ok: true, value: 'failed' });
  expect(await actions.start(waiting, 'w')).toEqual({ ok: false, error: { kind: 'state', state: 'failed' } });
  const running = await request();
  await approve(running);
  await actions.start(running, 'w');
  expect(await actions.lose(running)).toEqual({ ok: true, value: 'outcome-unknown' });
  expect(await actions.lose(running)).toEqual({ ok: false, error: { kind: 'state', state: 'outcome-unknown' } });
});

test('what was told is told once; a change while telling is told again', async () => {
  const id = await request();
  expect(await actions.untold()).toEqual([id]);
  await actions.deny(id, approver, 'no');
  await actions.told(id, 1);
  expect(await actions.untold()).toEqual([id]);
  await actions.told(id, 2);
  expect(await actions.untold()).toEqual([]);
});

test('the file gets what Redis has, keeps up, and mends a line that was cut off', async () => {
  const path = join(directory, 'keeps-up.jsonl');
  const file = createAuditFile(path, redis, 'lab');
  const id = await request();
  expect(await file.catchUp()).toEqual({ ok: true, value: { lines: 1 } });
  await actions.deny(id, approver, 'no');
  expect(await verify(await file.lines())).toEqual({ ok: true, value: { lines: 2 } });
  expect(await file.catchUp()).toEqual({ ok: true, value: { lines: 2 } });
  await truncate(path, (await readFile(path)).length - 10);
  expect(await file.catchUp()).toEqual({ ok: true, value: { lines: 2 } });
  expect(await file.lines()).toEqual(await readAudit(redis, 'lab', 0));
});

test('a file that cannot be written, was changed, or does not continue in Redis refuses', async () => {
  await request();
  const blocked = join(directory, 'a-file');
  await writeFile(blocked, '');
  expect(await createAuditFile(join(blocked, 'audit.jsonl'), redis, 'lab').catchUp()).toEqual({
    ok: false,
    error: expect.stringContaining('cannot be written'),
  });
  const path = join(directory, 'changed.jsonl');
  const file = createAuditFile(path, redis, 'lab');
  await file.catchUp();
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace('U1', 'U9'));
  expect(await file.catchUp()).toEqual({ ok: false, error: `the audit file ${path} is damaged: line 1 was changed` });
  await writeFile(path, text);
  await redis.flushall();
  expect(await file.catchUp()).toEqual({ ok: false, error: `the audit file ${path} does not continue in Redis` });
  await appendFile(path, 'x\n');
  expect(await file.catchUp()).toMatchObject({ ok: false });
});

test('every edit, removal, insertion and reordering of the audit is found', async () => {
  for (const reason of ['one', 'two', 'three', 'four']) await actions.deny(await request(), approver, reason);
  const lines = await readAudit(redis, 'lab', 0);
  const head = await readAuditHead(redis, 'lab');
  const index = fc.nat(lines.length - 1);
  const edited = fc
    .tuple(index, fc.nat(), fc.string({ minLength: 1, maxLength: 3 }))
    .map(([i, at, text]) =>
      lines.map((line, j) => (i === j ? line.slice(0, at % line.length) + text + line.slice((at % line.length) + 1) : line)),
    );
  const removed = index.map((i) => lines.filter((_, j) => j !== i));
  const doubled = index.map((i) => lines.flatMap((line, j) => (i === j ? [line, line] : [line])));
  const swapped = fc
    .tuple(index, index)
    .map(([i, j]) => lines.map((line, k) => (k === i ? lines[j] : k === j ? lines[i] : line) ?? ''));
  fc.assert(
    fc.property(fc.oneof(edited, removed, doubled, swapped), (changed) => {
      fc.pre(isDifferent(changed, lines));
      expect(verifyAudit(changed, head, null).ok).toBe(false);
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.oneof(edited, doubled, swapped), (changed) => {
      fc.pre(isDifferent(changed, lines));
      expect(verifyAudit(lines, head, changed).ok).toBe(false);
    }),
    { numRuns: 300 },
  );
  expect(verifyAudit(lines, head, lines.slice(0, 2)).ok).toBe(true);
});

function isDifferent(changed: readonly string[], lines: readonly string[]): boolean {
  return changed.length !== lines.length || changed.some((line, i) => line !== lines[i]);
}
