import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

/** The first two commands of the README, as a stranger types them; the story of the demo ends by itself without a terminal. */
const COMMANDS = {
  demo: ['npm', 'run', 'demo', '--', '--headless'],
  test: ['npm', 'test'],
} as const;

/**
 * How long the README's commands take in a bare clone with an empty npm cache, and what they download: the last commit is
 * cloned into a folder of its own, which is removed afterwards. With `withTests`, `npm test` as well. A table in Markdown.
 */
export async function benchFresh(withTests: boolean): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'netcheck-fresh-'));
  try {
    const clone = join(folder, 'netcheck');
    await timed(['git', 'clone', '--quiet', ROOT, clone], folder, {});
    const env = { npm_config_cache: join(folder, 'npm-cache') };
    const rows: string[] = [];
    let said = '';
    for (const command of [COMMANDS.demo, ...(withTests ? [COMMANDS.test] : [])]) {
      const { seconds, status, stderr } = await timed(command, clone, env);
      said += stderr;
      rows.push(`| \`${command.join(' ')}\` | ${seconds.toFixed(0)} s | exit status ${status} |`);
    }
    const npm = await sizeOf(join(folder, 'npm-cache', '_cacache', 'content-v2'));
    const debian = /^setup: system tools: fetched (.*)$/m.exec(said)?.[1] ?? 'nothing: they were there';
    rows.push(`| npm packages, downloaded | ${megabytes(npm)} | |`);
    rows.push(`| lists and packages of Debian, downloaded | ${debian} | |`);
    rows.push(`| the clone and all that it fetched, on disk | ${megabytes(await sizeOf(clone))} | |`);
    return ['| what | how much | |', '| --- | --- | --- |', ...rows, ''].join('\n');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a command with what a clone would not inherit taken out of its environment. */
async function timed(
  [command = '', ...argv]: readonly string[],
  cwd: string,
  more: Readonly<Record<string, string>>,
): Promise<{ readonly seconds: number; readonly status: number | null; readonly stderr: string }> {
  const path = (process.env['PATH'] ?? '').split(':').filter((entry) => !entry.startsWith(ROOT));
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|LD_LIBRARY_PATH$|XTABLES_LIBDIR$|NETCHECK_)/.test(name),
  );
  const began = performance.now();
  const child = spawn(command, argv, {
    cwd,
    env: { ...Object.fromEntries(inherited), PATH: path.join(':'), ...more },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.once('error', reject);
  child.once('close', resolve);
  const status = await promise;
  if (status !== 0) process.stderr.write(stderr);
  return { seconds: (performance.now() - began) / 1000, status, stderr };
}

/** The bytes of all files below a folder. */
async function sizeOf(folder: string): Promise<number> {
  let sum = 0;
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += (await stat(join(entry.parentPath, entry.name))).size;
  }
  return sum;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1_000_000).toFixed(0)} MB`;
}
