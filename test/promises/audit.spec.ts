import { execFile } from 'node:child_process';
import { appendFile, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createAuditFile, readAudit, readAuditHead, verifyAudit } from '../../src/store/audit.ts';
import { clusterKeys } from '../../src/store/keys.ts';
import { PLAN } from '../action.ts';
import { createRandom } from '../chaos/random.ts';
import { temporaryFolder } from '../folder.ts';
import { startRedis, type TestRedis } from '../redis.ts';
import { CLUSTER, createApprovedActions } from './approved-actions.ts';
import { count, proves } from './counts.ts';

/*
 * The audit: whatever is done to one of its two sinks is found, and where one of them takes nothing, nothing is carried
 * out. Changes are made where the audit lies, in a real Redis and a real file.
 */

const LINES = 40;
const APPROVER = { user: 'U2', team: 'T1' };
const keys = clusterKeys(CLUSTER);
const folder = temporaryFolder();

let server: TestRedis;
let redis: Redis;
let approved: ReturnType<typeof createApprovedActions>;

beforeAll(async () => {
  server = await startRedis(['--appendfsync', 'no']);
  redis = new Redis(server.url);
  approved = createApprovedActions(redis, folder);
});
afterAll(async () => {
  redis.disconnect();
  await server.close();
});
beforeEach(async () => {
  await redis.flushall();
});

const index = fc.nat(LINES - 1);
const letters = fc.string({ minLength: 1, maxLength: 4, unit: 'binary' });
const editing = fc.tuple(index, fc.nat(), letters).map(([i, at, text]) => (lines: readonly string[]) => {
  const line = lines[i] ?? '';
  const from = at % line.length;
  return lines.with(i, line.slice(0, from) + text + line.slice(from + text.length));
});
const field = fc
  .tuple(
    index,
    fc.constantFrom('at', 'event', 'action', 'digest', 'run', 'actor', 'detail', 'cluster', 'seq', 'hash', 'previous'),
    index,
  )
  .map(([i, name, j]) => (lines: readonly string[]) => {
    const [line, other] = [JSON.parse(lines[i] ?? ''), JSON.parse(lines[j] ?? '')] as Record<string, unknown>[];
    return lines.with(i, JSON.stringify({ ...line, [name]: other?.[name] }));
  });
const removal = fc.tuple(index, fc.integer({ min: 1, max: 3 })).map(
  ([i, many]) =>
    (lines: readonly string[]) =>
      lines.toSpliced(i, many),
);
const reordering = fc.tuple(index, index).map(
  ([i, j]) =>
    (lines: readonly string[]) =>
      lines.with(i, lines[j] ?? '').with(j, lines[i] ?? ''),
);
const insertion = fc.tuple(index, index, fc.boolean()).map(
  ([i, j, isNew]) =>
    (lines: readonly string[]) =>
      lines.toSpliced(i, 0, isNew ? (lines[j] ?? '').replace('"seq":', '"seq":1') : (lines[j] ?? '')),
);
const damage = fc.oneof(editing, field, removal, reordering, insertion);

test('every edit, removal, reordering and insertion is found where it was made', { timeout: 600_000 }, async ({ task }) => {
  const times = count(100, 1_000);
  while ((await redis.llen(keys.audit)) < LINES) await approved.actions.deny(await approved.request(PLAN), APPROVER, 'not now');
  const path = join(await mkdtemp(join(folder, 'a-')), 'audit.jsonl');
  const file = createAuditFile(path, redis, CLUSTER);
  expect(await file.catchUp()).toEqual({ ok: true, value: { lines: LINES } });
  const verify = async () =>
    verifyAudit(await readAudit(redis, CLUSTER, 0), await readAuditHead(redis, CLUSTER), await file.lines());
  expect(await verify()).toEqual({ ok: true, value: { lines: LINES } });
  const whole = await readAudit(redis, CLUSTER, 0);
  const text = await readFile(path, 'utf8');
  await fc.assert(
    fc.asyncProperty(damage, fc.constantFrom('redis', 'file'), async (change, where) => {
      const changed = change(whole);
      fc.pre(changed.join('\n') !== whole.join('\n'));
      // Lines at the end of the file may be missing: it may be behind, and then catches up.
      fc.pre(where === 'redis' || !whole.join('\n').startsWith(changed.join('\n')));
      if (where === 'redis')
        await redis
          .multi()
          .del(keys.audit)
          .rpush(keys.audit, ...changed)
          .exec();
      else await writeFile(path, changed.map((line) => `${line}\n`).join(''));
      const found = await verify();
      const copied = await file.catchUp();
      await redis
        .multi()
        .del(keys.audit)
        .rpush(keys.audit, ...whole)
        .exec();
      await writeFile(path, text);
      expect(found).toMatchObject({ ok: false, error: { where } });
      // Damage in Redis behind what the file has is found by whoever verifies; damage in the file stops everything.
      expect(where === 'file' && copied.ok).toBe(false);
    }),
    { numRuns: times },
  );
  proves(task, 11, `${times} edits, removals, reorderings and insertions in Redis and in the file, ${times} found`);
});

test('with the disk full nothing is carried out', { timeout: 240_000 }, async ({ task }) => {
  const times = count(5, 50);
  const small = await mkdtemp(join(folder, 'small-'));
  const script = 'mount -t tmpfs -o size=16k tmpfs "$2" && exec "$0" "$1" "$3" "$4" "$2" "$5"';
  const program = join(import.meta.dirname, 'full-disk-process.ts');
  const isolated = ['--user', '--map-root-user', '--mount', 'sh', '-c', script, process.execPath, program, small];
  const files = await mkdtemp(join(folder, 'b-'));
  const { stdout } = await promisify(execFile)('unshare', [...isolated, server.url, files, String(times)]);
  expect(JSON.parse(stdout)).toEqual({ acted: 0, isFull: true, reasons: ['failed: ENOSPC'] });
  const path = join(await mkdtemp(join(folder, 'a-')), 'audit.jsonl');
  expect(await approved.execute(await approved.approve(PLAN), path)).toHaveLength(1);
  proves(task, 11, `${times} remedies with a full disk, 0 carried out`);
});

test('what the audit file says of an action cannot be unsaid in Redis: it is not carried out again', {
  timeout: 240_000,
}, async ({ task }) => {
  const times = count(20, 200);
  const random = createRandom(11);
  let again = 0;
  for (let time = 0; time < times; time += 1) {
    const path = join(await mkdtemp(join(folder, 'a-')), 'audit.jsonl');
    const id = await approved.approve(PLAN);
    const before = { record: await redis.hgetall(keys.action(id)), head: await redis.get(keys.auditHead) };
    const audit = await readAudit(redis, CLUSTER, 0);
    expect(await approved.execute(id, path)).toHaveLength(1);
    // Somebody puts back what lay in Redis before: the action alone, or the audit with it.
    await redis.del(keys.action(id));
    await redis.hset(keys.action(id), before.record);
    if (random() < 0.5) {
      await redis
        .multi()
        .del(keys.audit)
        .rpush(keys.audit, ...audit)
        .set(keys.auditHead, before.head ?? '')
        .exec();
    }
    again += (await approved.execute(id, path)).length;
  }
  expect(again).toBe(0);
  proves(task, 11, `${times} actions put back to approved in Redis, 0 carried out again`);
});

test('a line that a full disk has cut off is written again, whole', async () => {
  const path = join(await mkdtemp(join(folder, 'a-')), 'audit.jsonl');
  const file = createAuditFile(path, redis, CLUSTER);
  for (let line = 1; line < 4; line += 1) {
    await approved.actions.deny(await approved.request(PLAN), APPROVER, 'not now');
    await file.catchUp();
    await appendFile(path, '{"schema":"netcheck.aud');
  }
  expect(await file.catchUp()).toEqual({ ok: true, value: { lines: 6 } });
  expect(await file.lines()).toEqual(await readAudit(redis, CLUSTER, 0));
});
