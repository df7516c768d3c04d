import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Redis } from 'ioredis';
import { canonicalJson } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { messageOf } from '../model/text.ts';
import { AuditEntry } from '../model/wire/action.ts';
import { clusterKeys } from './keys.ts';

/** Where a chain was found broken: the line's number, and what is wrong with it. */
export type AuditFault = { readonly seq: number; readonly where: 'redis' | 'file'; readonly message: string };

/** A line that is to be written, without what ties it into the chain. */
export type AuditLine = Omit<AuditEntry, 'schema' | 'seq' | 'previous' | 'hash'>;

/** The line tied to the end of a chain. `head` is `SEQ:HASH` of the last line, or '' for an empty chain. */
export function chain(head: string, line: AuditLine): { readonly entry: AuditEntry; readonly head: string } {
  const [seq = '', previous = ''] = head === '' ? ['0', ''] : head.split(':');
  const entry = { schema: 'netcheck.audit/v1' as const, seq: Number(seq) + 1, ...line, previous };
  const hash = hashOf(entry);
  return { entry: { ...entry, hash }, head: `${entry.seq}:${hash}` };
}

/** Reads the lines of a cluster's chain in Redis whose number is above `after`, as text. */
export function readAudit(redis: Redis, cluster: string, after: number): Promise<string[]> {
  return redis.lrange(clusterKeys(cluster).audit, after, -1);
}

/** The same as entries. What is not a line of an audit is left out: `verifyAudit` finds it. */
export async function readAuditEntries(redis: Redis, cluster: string, after: number): Promise<AuditEntry[]> {
  return (await readAudit(redis, cluster, after)).flatMap((line) => readLine(line) ?? []);
}

/** What Redis holds as the end of a cluster's chain, or null while there is none. */
export function readAuditHead(redis: Redis, cluster: string): Promise<string | null> {
  return redis.get(clusterKeys(cluster).auditHead);
}

/**
 * Checks a whole chain as it lies in Redis, and when the lines of a file are given, that file against it: every edit,
 * removal, insertion and reordering is found. `head` is what Redis holds as the chain's end. The file may be behind,
 * never ahead or different.
 */
export function verifyAudit(
  lines: readonly string[],
  head: string | null,
  file: readonly string[] | null,
): Result<{ readonly lines: number }, AuditFault> {
  const inRedis = verifyLines(lines, 'redis');
  if (!inRedis.ok) return inRedis;
  const end = inRedis.value;
  if ((head ?? '') !== end) {
    return fail({
      seq: lines.length,
      where: 'redis',
      message: `the chain ends with ${end || 'nothing'}, but should with ${head ?? 'nothing'}`,
    });
  }
  if (file !== null) {
    const inFile = verifyLines(file, 'file');
    if (!inFile.ok) return inFile;
    if (file.length > lines.length) {
      return fail({
        seq: lines.length + 1,
        where: 'redis',
        message: `line ${lines.length + 1} is in the file, but not in Redis`,
      });
    }
    const different = file.findIndex((line, index) => line !== lines[index]);
    if (different >= 0) {
      return fail({
        seq: different + 1,
        where: 'file',
        message: `line ${different + 1} is not the same in the file and in Redis`,
      });
    }
  }
  return ok({ lines: lines.length });
}

function verifyLines(lines: readonly string[], where: 'redis' | 'file'): Result<string, AuditFault> {
  let head = '';
  for (const [index, text] of lines.entries()) {
    const seq = index + 1;
    const entry = readLine(text);
    if (entry === null) return fail({ seq, where, message: `line ${seq} is not a line of an audit` });
    if (entry.seq !== seq) return fail({ seq, where, message: `line ${seq} says that it is line ${entry.seq}` });
    const { hash, ...content } = entry;
    const previous = head === '' ? '' : (head.split(':')[1] ?? '');
    if (entry.previous !== previous) return fail({ seq, where, message: `line ${seq} does not follow the line before it` });
    if (hashOf(content) !== hash) return fail({ seq, where, message: `line ${seq} was changed` });
    head = `${seq}:${hash}`;
  }
  return ok(head);
}

function readLine(text: string): AuditEntry | null {
  try {
    const read = AuditEntry.safeParse(JSON.parse(text));
    return read.success ? read.data : null;
  } catch {
    return null;
  }
}

function hashOf(entry: Omit<AuditEntry, 'hash'>): string {
  return createHash('sha256').update(canonicalJson(entry)).digest('hex');
}

/** The second sink of the audit: a file of one JSON line per entry, on a volume of its own. */
export type AuditFile = {
  /**
   * Copies what Redis has and the file has not, and returns when it is on the disk. Fails, in words, when the file
   * cannot be written or does not continue in Redis: then nothing may be changed anywhere.
   */
  readonly catchUp: () => Promise<Result<{ readonly lines: number }, string>>;
  /** All complete lines of the file. */
  readonly lines: () => Promise<string[]>;
  /** What the file says of one action, oldest first. */
  readonly eventsOf: (action: string) => Promise<AuditEntry['event'][]>;
};

/** The audit file of a cluster: every cluster has a chain, and so a file, of its own. */
export function auditFileOf(configured: string, cluster: string): string {
  return configured.replaceAll('{cluster}', cluster);
}

/** Opens the audit file of a cluster. Calls of `catchUp` run one after the other. */
export function createAuditFile(path: string, redis: Redis, cluster: string): AuditFile {
  let last: Promise<unknown> = Promise.resolve();

  async function read(): Promise<string> {
    try {
      const file = await open(path, 'r');
      try {
        return await file.readFile('utf8');
      } finally {
        await file.close();
      }
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
      throw error;
    }
  }

  async function copy(): Promise<Result<{ readonly lines: number }, string>> {
    await mkdir(dirname(path), { recursive: true });
    const text = await read();
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const present = linesOf(whole);
    const checked = verifyLines(present, 'file');
    if (!checked.ok) return fail(`the audit file ${path} is damaged: ${checked.error.message}`);
    const missing = await readAudit(redis, cluster, present.length);
    const known = present.length === 0 ? [] : await readAudit(redis, cluster, present.length - 1);
    if (present.length > 0 && known[0] !== present.at(-1)) return fail(`the audit file ${path} does not continue in Redis`);
    const joined = verifyLines([...present, ...missing], 'redis');
    if (!joined.ok) return fail(`the audit in Redis is damaged: ${joined.error.message}`);
    const file = await open(path, 'a', 0o600);
    try {
      // A line that was cut off by a full disk is written again, whole.
      if (whole.length < text.length) await file.truncate(Buffer.byteLength(whole));
      if (missing.length > 0) await file.appendFile(missing.map((line) => `${line}\n`).join(''));
      await file.sync();
    } finally {
      await file.close();
    }
    return ok({ lines: present.length + missing.length });
  }

  async function lines(): Promise<string[]> {
    const text = await read();
    return linesOf(text.slice(0, text.lastIndexOf('\n') + 1));
  }

  return {
    catchUp: () => {
      const next = last.then(async () => {
        try {
          return await copy();
        } catch (error) {
          return fail(`the audit file ${path} cannot be written: ${messageOf(error)}`);
        }
      });
      last = next;
      return next;
    },
    lines,
    eventsOf: async (action) =>
      (await lines())
        .flatMap((line) => readLine(line) ?? [])
        .filter((entry) => entry.action === action)
        .map(({ event }) => event),
  };
}

function linesOf(text: string): string[] {
  return text.split('\n').filter((line) => line !== '');
}
