import { readFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { nearNames } from '../model/near-names.ts';
import { messageOf, oneLine } from '../model/text.ts';
import { AuditEntry } from '../model/wire/action.ts';
import { auditFileOf, readAudit, readAuditHead, verifyAudit } from '../store/audit.ts';
import { closeRedis, connectRedis, redisIsReady } from '../store/redis.ts';
import { EXPORT_FORMATS, type ExportFormat, exportHead, exportLine, parseSince } from './audit-export.ts';
import { textOption } from './options.ts';
import { chosenClusters, configFile, loadConfig } from './settings.ts';
import { UsageError } from './usage-error.ts';

const TASKS = ['verify', 'show', 'export'] as const;

/** How long Redis may take to answer, in milliseconds. */
const REDIS_MS = 5000;

/**
 * `netcheck audit verify|show|export`. Returns the exit status: 0 when the audit is whole, 1 when it is not, 2 when that
 * cannot be said because Redis or the audit file cannot be read. An export judges what it exports: the audit in Redis.
 */
export async function audit(task: string, options: Readonly<Record<string, unknown>>): Promise<number> {
  if (!TASKS.some((known) => known === task)) {
    const [near] = nearNames(task, TASKS, 1);
    const hint = near === undefined ? '' : ` Did you mean audit ${near}?`;
    throw new UsageError(`audit ${task}: it is audit verify, audit show or audit export.${hint}`);
  }
  const wanted = exportOptions(task, options);
  const config = loadConfig(configFile(options), 'worker');
  const clusters = chosenClusters(config, options);
  const redis = connectRedis(config.redis.url, 'fail-fast', { info: () => {}, warn: () => {}, error: () => {} });
  try {
    if (!(await redisIsReady(redis, REDIS_MS))) {
      process.stderr.write(`netcheck: Redis cannot be reached at ${new URL(config.redis.url).host}\n`);
      return 2;
    }
    let status = 0;
    for (const cluster of clusters) {
      if (task === 'show') {
        await show(redis, cluster);
        continue;
      }
      if (wanted !== null) {
        if (cluster === clusters[0]) process.stdout.write(exportHead(wanted.format));
        status = Math.max(status, await exportCluster(redis, cluster, wanted));
        continue;
      }
      const result = await verifyCluster(redis, cluster, config.remedies.auditFile ?? null);
      process.stdout.write(`${cluster}: ${result.text}\n`);
      status = Math.max(status, result.status);
    }
    return status;
  } finally {
    closeRedis(redis);
  }
}

/** Whether the audit of a cluster is whole, in Redis and in its file: 0, else 1, or 2 when that cannot be said; and why. */
export async function verifyCluster(
  redis: Redis,
  cluster: string,
  configured: string | null,
): Promise<{ readonly status: 0 | 1 | 2; readonly text: string }> {
  const [lines, head] = await Promise.all([readAudit(redis, cluster, 0), readAuditHead(redis, cluster)]);
  const path = configured === null ? null : auditFileOf(configured, cluster);
  let file: readonly string[] | null = null;
  try {
    file = path === null ? null : (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  } catch (error) {
    const isNew = lines.length === 0 && error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (!isNew) {
      return { status: 2, text: `the audit file cannot be read: ${messageOf(error)}` };
    }
  }
  const checked = verifyAudit(lines, head, file);
  if (!checked.ok) {
    const where = checked.error.where === 'redis' ? 'Redis' : path;
    return { status: 1, text: `NOT WHOLE, in ${where}: ${checked.error.message}` };
  }
  const where = path === null ? 'in Redis; no audit file is configured' : `in Redis and in ${path}`;
  return { status: 0, text: `whole: ${checked.value.lines} line${checked.value.lines === 1 ? '' : 's'} ${where}` };
}

/** What an export is to be like, or null for another task. Throws a `UsageError` for options that cannot be. */
function exportOptions(
  task: string,
  options: Readonly<Record<string, unknown>>,
): { readonly format: ExportFormat; readonly since: number } | null {
  const [format, since] = [textOption(options, 'format'), textOption(options, 'since')];
  if (task !== 'export') {
    if (format !== undefined || since !== undefined)
      throw new UsageError(`audit ${task} takes no ${format === undefined ? '--since' : '--format'}: that is for audit export`);
    return null;
  }
  const known = EXPORT_FORMATS.find((one) => one === (format ?? 'jsonl'));
  if (known === undefined) throw new UsageError(`--format ${format}: it is jsonl or csv`);
  const from = since === undefined ? 0 : parseSince(since, Date.now());
  if (from === null)
    throw new UsageError(`--since ${since}: it is how long ago (90m, 24h, 7d, 2w) or a time (2026-11-20, 2026-11-20T09:30:00Z)`);
  return { format: known, since: from };
}

/** Prints the lines of a cluster's audit since a time. Returns 1 when they are not a whole audit, else 0. */
async function exportCluster(
  redis: Redis,
  cluster: string,
  { format, since }: { readonly format: ExportFormat; readonly since: number },
): Promise<0 | 1> {
  const [lines, head] = await Promise.all([readAudit(redis, cluster, 0), readAuditHead(redis, cluster)]);
  for (const text of lines) {
    const { data: entry } = AuditEntry.safeParse(parsed(text));
    if (entry !== undefined && entry.at >= since) process.stdout.write(exportLine(format, text, entry));
  }
  const checked = verifyAudit(lines, head, null);
  if (checked.ok) return 0;
  process.stderr.write(`netcheck: ${cluster}: NOT WHOLE, in Redis: ${oneLine(checked.error.message)}\n`);
  return 1;
}

async function show(redis: Redis, cluster: string): Promise<void> {
  for (const [index, text] of (await readAudit(redis, cluster, 0)).entries()) {
    const line = AuditEntry.safeParse(parsed(text));
    if (!line.success) {
      process.stdout.write(`${cluster}  ${index + 1}  this line cannot be read: run netcheck audit verify\n`);
      continue;
    }
    const { seq, at, event, action, actor, detail } = line.data;
    const more = Object.entries(detail).map(([key, value]) => `${key}=${JSON.stringify(oneLine(value))}`);
    const fields = [cluster, seq, new Date(at).toISOString(), event, action, actor?.user ?? '-', ...more];
    process.stdout.write(`${fields.join('  ')}\n`);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
