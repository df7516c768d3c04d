import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { PLAN } from '../../test/action.ts';
import { runNetcheck } from '../../test/netcheck.ts';
import { freePort, startRedis, type TestRedis } from '../../test/redis.ts';
import { createActionStore } from '../store/actions.ts';
import { createAuditFile } from '../store/audit.ts';
import { verifyCluster } from './audit.ts';
import { parseSince } from './audit-export.ts';

let server: TestRedis;
let redis: Redis;
let folder: string;
let file: string;

beforeAll(async () => {
  server = await startRedis();
  redis = new Redis(server.url);
  folder = mkdtempSync(join(tmpdir(), 'netcheck-audit-'));
  file = join(folder, 'audit-{cluster}.jsonl');
});

afterAll(async () => {
  redis.disconnect();
  await server.close();
  rmSync(folder, { recursive: true });
});

beforeEach(async () => {
  await redis.flushall();
  for (const name of ['lab', 'prod']) rmSync(fileOf(name), { force: true });
});

function fileOf(cluster: string): string {
  return file.replace('{cluster}', cluster);
}

/** Requests a remedy and denies it: two lines, in Redis and in the file. */
async function twoLines(cluster = 'lab'): Promise<void> {
  const actions = createActionStore(redis, cluster);
  const by = { user: 'U1', team: 'T1' };
  await actions.request({ id: `a-${cluster}`, run: 'r1', channel: 'C1', plan: PLAN, by, approvalsNeeded: 1 }, 60_000);
  await actions.deny(`a-${cluster}`, { user: 'U2', team: 'T1' }, 'not\u001b[31m now');
  await createAuditFile(fileOf(cluster), redis, cluster).catchUp();
}

test('an audit that is whole in both places', async () => {
  await twoLines();
  expect(await verifyCluster(redis, 'lab', file)).toEqual({ status: 0, text: `whole: 2 lines in Redis and in ${fileOf('lab')}` });
  expect(await verifyCluster(redis, 'lab', null)).toEqual({
    status: 0,
    text: 'whole: 2 lines in Redis; no audit file is configured',
  });
});

test('an audit that has not begun is whole', async () => {
  expect(await verifyCluster(redis, 'lab', file)).toEqual({ status: 0, text: `whole: 0 lines in Redis and in ${fileOf('lab')}` });
});

test('a file that is behind is whole: the worker catches up before it acts', async () => {
  await twoLines();
  writeFileSync(fileOf('lab'), `${readFileSync(fileOf('lab'), 'utf8').split('\n')[0]}\n`);
  expect(await verifyCluster(redis, 'lab', file)).toMatchObject({ status: 0 });
});

test('a line that was changed in Redis is found', async () => {
  await twoLines();
  const [first = ''] = await redis.lrange('nc:lab:audit', 0, 0);
  await redis.lset('nc:lab:audit', 0, first.replace('"U1"', '"U9"'));
  expect(await verifyCluster(redis, 'lab', file)).toEqual({ status: 1, text: 'NOT WHOLE, in Redis: line 1 was changed' });
});

test('a line that is missing in Redis is found', async () => {
  await twoLines();
  await redis.rpop('nc:lab:audit');
  expect(await verifyCluster(redis, 'lab', file)).toMatchObject({
    status: 1,
    text: expect.stringMatching(/^NOT WHOLE, in Redis: the chain ends/),
  });
});

test('a line that was changed in the file is found', async () => {
  await twoLines();
  writeFileSync(fileOf('lab'), readFileSync(fileOf('lab'), 'utf8').replace('"U2"', '"U9"'));
  expect(await verifyCluster(redis, 'lab', file)).toEqual({
    status: 1,
    text: `NOT WHOLE, in ${fileOf('lab')}: line 2 was changed`,
  });
});

test('Redis that was emptied does not make the file whole', async () => {
  await twoLines();
  await redis.flushall();
  expect(await verifyCluster(redis, 'lab', file)).toEqual({
    status: 1,
    text: 'NOT WHOLE, in Redis: line 1 is in the file, but not in Redis',
  });
});

test('a file that is gone cannot be judged', async () => {
  await twoLines();
  rmSync(fileOf('lab'));
  expect(await verifyCluster(redis, 'lab', file)).toMatchObject({
    status: 2,
    text: expect.stringMatching(/^the audit file cannot be read: ENOENT/),
  });
});

/** Runs `netcheck audit …` with a configuration of two clusters. */
async function audit(argv: readonly string[], url = server.url) {
  const config = join(folder, 'netcheck.yaml');
  writeFileSync(
    config,
    `redis: { url: '${url}' }
clusters: { lab: { channels: [C0000000001] }, prod: { channels: [C0000000002] } }
remedies: { enabled: true, publicKeyFile: approval.pub, auditFile: 'audit-{cluster}.jsonl' }
`,
  );
  return runNetcheck(['audit', ...argv, '--config', config]);
}

test('audit verify says it of every cluster, and its exit status is the worst', async () => {
  await twoLines('lab');
  await twoLines('prod');
  expect(await audit(['verify'])).toEqual({
    status: 0,
    stdout: `lab: whole: 2 lines in Redis and in ${fileOf('lab')}\nprod: whole: 2 lines in Redis and in ${fileOf('prod')}\n`,
    stderr: '',
  });
  await redis.rpop('nc:lab:audit');
  expect(await audit(['verify'])).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^lab: NOT WHOLE.*\nprod: whole: 2 lines.*\n$/),
  });
  expect(await audit(['verify', '--cluster', 'prod'])).toMatchObject({ status: 0 });
});

test('audit show prints a line for each, without what could play with a terminal', async () => {
  await twoLines();
  await redis.rpush('nc:lab:audit', 'nonsense\u001b[2J');
  const { status, stdout, stderr } = await audit(['show', '--cluster', 'lab']);
  const time = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
  expect([status, stderr, stdout.split('\n')]).toEqual([
    0,
    '',
    [
      expect.stringMatching(
        new RegExp(`^lab  1  ${time}  requested  a-lab  U1  title="Enable IP forwarding on node-2"  node="node-2"$`),
      ),
      expect.stringMatching(new RegExp(`^lab  2  ${time}  denied  a-lab  U2  reason="not\\[31m now"$`)),
      'lab  3  this line cannot be read: run netcheck audit verify',
      '',
    ],
  ]);
});

test('audit export gives the lines as they are kept, from which the chain can be computed again', async () => {
  await twoLines('lab');
  await twoLines('prod');
  const kept = [...(await redis.lrange('nc:lab:audit', 0, -1)), ...(await redis.lrange('nc:prod:audit', 0, -1))];
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
  expect(await audit(['export'])).toEqual({ status: 0, stdout: text(kept), stderr: '' });
  expect(await audit(['export', '--cluster', 'prod', '--since', '1h'])).toMatchObject({ stdout: text(kept.slice(2)) });
  expect(await audit(['export', '--since', '2999-01-01'])).toEqual({ status: 0, stdout: '', stderr: '' });
});

test('audit export as csv has a head and one row a line, and no formula for a spreadsheet', async () => {
  const actions = createActionStore(redis, 'lab');
  const by = { user: 'U1', team: 'T1' };
  await actions.request({ id: '=1+1', run: 'r1', channel: 'C1', plan: PLAN, by, approvalsNeeded: 1 }, 60_000);
  await actions.deny('=1+1', { user: 'U2', team: 'T1' }, 'not, "now"');
  const { status, stdout, stderr } = await audit(['export', '--cluster', 'lab', '--format', 'csv']);
  const rows = stdout.split('\r\n');
  expect([status, stderr, rows[0], rows.length, rows.at(-1)]).toEqual([
    0,
    '',
    'cluster,seq,at,event,action,run,user,team,detail,digest,previous,hash',
    4,
    '',
  ]);
  const hash = '[0-9a-f]{64}';
  const detail = String.raw`"\{""reason"":""not, \\""now\\""""\}"`;
  expect(rows[2]).toMatch(new RegExp(`^lab,2,[-0-9T:.]+Z,denied,'=1\\+1,r1,U2,T1,${detail},${hash},${hash},${hash}$`));
});

test('an export of what is not whole says so, and goes on', async () => {
  await twoLines();
  await redis.lset('nc:lab:audit', 0, 'nonsense');
  expect(await audit(['export', '--cluster', 'lab'])).toEqual({
    status: 1,
    stdout: `${await redis.lindex('nc:lab:audit', 1)}\n`,
    stderr: 'netcheck: lab: NOT WHOLE, in Redis: line 1 is not a line of an audit\n',
  });
});

test.each([
  [['export', '--format', 'xml'], '--format xml: it is jsonl or csv'],
  [
    ['export', '--since', 'yesterday'],
    '--since yesterday: it is how long ago (90m, 24h, 7d, 2w) or a time (2026-11-20, 2026-11-20T09:30:00Z)',
  ],
  [['show', '--since', '1h'], 'audit show takes no --since: that is for audit export'],
])('audit %j is refused', async (argv, message) => {
  expect(await audit(argv)).toEqual({ status: 3, stdout: '', stderr: `netcheck: ${message}\n` });
});

test.each([
  ['90m', Date.UTC(2026, 10, 21, 8, 30)],
  ['7d', Date.UTC(2026, 10, 14, 10)],
  ['2026-11-20', Date.UTC(2026, 10, 20)],
  ['2026-11-20T09:30:00+01:00', Date.UTC(2026, 10, 20, 8, 30)],
  ['2026-02-30', null],
  ['2026-11-20 09:30', null],
  ['24', null],
  ['-1h', null],
])('--since %s', (text, at) => {
  expect(parseSince(text, Date.UTC(2026, 10, 21, 10))).toBe(at);
});

test('a task that there is not is refused', async () => {
  expect(await audit(['verfy'])).toEqual({
    status: 3,
    stdout: '',
    stderr: 'netcheck: audit verfy: it is audit verify, audit show or audit export. Did you mean audit verify?\n',
  });
});

test('without Redis nothing can be said, and that is not whole', async () => {
  const port = await freePort();
  expect(await audit(['verify'], `redis://127.0.0.1:${port}`)).toEqual({
    status: 2,
    stdout: '',
    stderr: `netcheck: Redis cannot be reached at 127.0.0.1:${port}\n`,
  });
});
