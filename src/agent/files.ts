import { closeSync, constants, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Evidence } from '../model/evidence.ts';
import { type Bounds, now } from './command.ts';

/**
 * Reads files below `root`, the root file system they belong to; /proc and /sys are the agent's own, so that they show
 * the network namespace it is in. One plain file gives its content; several, or a pattern (`*` in the last part), give
 * each file behind a line `==> PATH <==`, and files that do not exist are left out, as a missing directory of drop-ins is
 * no error. Of what is below /dev, as the kernel's log, what is there now is read, without waiting for more. With `lines`
 * only the lines that this regular expression matches are kept.
 */
export function readFiles(files: readonly string[], root: string, bounds: Bounds, lines?: string): Evidence {
  const startedMs = now();
  const [only] = files;
  const result =
    files.length === 1 && only !== undefined && !only.includes('*')
      ? readOne(only, root, bounds, lines)
      : readMany(files, root, bounds, lines);
  return { argv: ['cat', ...files], ...result, startedMs, durationMs: now() - startedMs };
}

type Read = Pick<Evidence, 'exitCode' | 'stdout' | 'stderr' | 'truncated' | 'fault'>;

function readOne(path: string, root: string, bounds: Bounds, lines?: string): Read {
  try {
    return capped(contentOf(path, root, lines), bounds);
  } catch (error) {
    return failure(path, error);
  }
}

function readMany(files: readonly string[], root: string, bounds: Bounds, lines?: string): Read {
  const parts: Buffer[] = [];
  for (const path of files.flatMap((file) => expand(file, root))) {
    try {
      const content = contentOf(path, root, lines);
      const newline = content.length > 0 && content.at(-1) !== 10 ? '\n' : '';
      parts.push(Buffer.from(`==> ${path} <==\n`), content, Buffer.from(newline));
    } catch (error) {
      if (!isMissing(error)) return failure(path, error);
    }
  }
  return capped(Buffer.concat(parts), bounds);
}

function contentOf(path: string, root: string, lines?: string): Buffer {
  const place = located(path, root);
  const content = path.startsWith('/dev/') ? readDevice(place) : readFileSync(place);
  if (lines === undefined) return content;
  const matcher = new RegExp(lines);
  const kept = content
    .toString('utf8')
    .split('\n')
    .filter((line) => matcher.test(line));
  return Buffer.from(kept.map((line) => `${line}\n`).join(''));
}

/** Far above the longest record of the kernel's log (PRINTKRB_RECORD_MAX), and above its largest buffer. */
const RECORD_BYTES = 8192;
const DEVICE_BYTES = 64 * 1024 * 1024;

/** What a device has to say now. One read gives one record of /dev/kmsg; EPIPE: the oldest ones were overwritten meanwhile. */
function readDevice(place: string): Buffer {
  // biome-ignore lint/suspicious/noBitwiseOperators: flags of open(2)
  const file = openSync(place, constants.O_RDONLY | constants.O_NONBLOCK);
  const records: Buffer[] = [];
  try {
    const room = Buffer.alloc(RECORD_BYTES);
    for (let size = 0; size < DEVICE_BYTES; ) {
      const length = readRecord(file, room);
      if (length === 0) break;
      size += length;
      records.push(Buffer.from(room.subarray(0, length)));
    }
  } finally {
    closeSync(file);
  }
  return Buffer.concat(records);
}

function readRecord(file: number, room: Buffer): number {
  for (;;) {
    try {
      return readSync(file, room);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') return 0;
      if (code !== 'EPIPE') throw error;
    }
  }
}

function capped(content: Buffer, { maxBytes }: Bounds): Read {
  const truncated = content.length > maxBytes;
  return { exitCode: truncated ? null : 0, stdout: content.toString('utf8', 0, maxBytes), stderr: '', truncated };
}

function failure(path: string, error: unknown): Read {
  const { code } = error as NodeJS.ErrnoException;
  if (isMissing(error)) return { exitCode: 1, stdout: '', stderr: `cat: ${path}: No such file or directory`, truncated: false };
  const denied = code === 'EACCES' || code === 'EPERM';
  const stderr = `cat: ${path}: ${denied ? 'Permission denied' : String(error)}`;
  return { exitCode: null, stdout: '', stderr, truncated: false, fault: denied ? 'denied' : 'failed' };
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function located(path: string, root: string): string {
  return path.startsWith('/proc/') || path.startsWith('/sys/') || root === '/' ? path : followed(path, root);
}

/** Where a path leads for the processes whose root file system this is: an absolute link of theirs starts at their root. */
function followed(path: string, root: string): string {
  const parts = path.split('/');
  let place = '/';
  for (let links = 0; parts.length > 0; ) {
    const next = join(place, parts.shift() ?? '');
    const target = linkAt(join(root, next));
    if (target === null) place = next;
    // What masks a file: it is empty, whatever file system it is looked for in.
    else if (target === '/dev/null') return target;
    else if (++links > MOST_LINKS) throw new Error(`${path}: too many links`);
    else {
      parts.unshift(...target.split('/'));
      if (target.startsWith('/')) place = '/';
    }
  }
  return join(root, place);
}

/** As many as the kernel follows. */
const MOST_LINKS = 40;

function linkAt(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function expand(pattern: string, root: string): readonly string[] {
  const name = basename(pattern);
  if (!name.includes('*')) return [pattern];
  const [prefix = '', suffix = ''] = name.split('*', 2);
  try {
    return readdirSync(located(dirname(pattern), root))
      .filter((entry) => entry.length >= prefix.length + suffix.length && entry.startsWith(prefix) && entry.endsWith(suffix))
      .sort()
      .map((entry) => join(dirname(pattern), entry));
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}
