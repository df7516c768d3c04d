import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { judge } from '../diagnosis/judge.ts';
import { Bundle } from '../model/bundle.ts';
import { messageOf } from '../model/text.ts';
import { exitCodeOf } from '../model/verdict.ts';
import { outputFormat } from './options.ts';
import { printVerdict, VERDICT_FORMATS } from './output.ts';
import { UsageError } from './usage-error.ts';

const GZIP_MAGIC = 0x1f;

/** `netcheck replay FILE`: the verdict of a bundle, plain or gzipped. Returns the exit status. */
export async function replay(file: string, options: Record<string, unknown>): Promise<number> {
  const format = outputFormat(options['output'], VERDICT_FORMATS);
  const verdict = judge(await readBundle(file));
  await printVerdict(verdict, format);
  return exitCodeOf(verdict.status);
}

/** Reads a bundle, plain or gzipped. Throws a `UsageError` when the file is none. */
export async function readBundle(file: string): Promise<Bundle> {
  let content: Buffer;
  try {
    content = await readFile(file);
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${messageOf(error)}`);
  }
  const text = content[0] === GZIP_MAGIC ? (await promisify(gunzip)(content)).toString('utf8') : content.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new UsageError(`${file} is no evidence bundle: it is not JSON. Write one with netcheck run … --bundle FILE.`);
  }
  const bundle = Bundle.safeParse(value);
  if (bundle.success) return bundle.data;
  const [issue] = bundle.error.issues;
  throw new UsageError(`${file} is no evidence bundle of this version: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
}
