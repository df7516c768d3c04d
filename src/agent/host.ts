import {
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import type { Host } from '../remedies/remedy.ts';
import { createProcesses, runCommand } from './command.ts';
import { endProcess } from './end-process.ts';

const COMMAND = { deadlineMs: 30_000, maxBytes: 1024 * 1024 };

/** Files that remedies read and write are small. */
const MAX_FILE_BYTES = 256 * 1024;

/** The node as remedies see it. Files lie below `root`, the host's root file system. */
export function createHost(root: string): Host {
  const processes = createProcesses();

  async function run(argv: readonly string[]): Promise<string> {
    const evidence = await runCommand(argv, COMMAND, processes);
    if (evidence.exitCode !== 0)
      throw new Error(
        `${argv.join(' ')}: ${evidence.fault ?? `exit status ${evidence.exitCode}`} ${evidence.stderr.trim()}`.trim(),
      );
    return evidence.stdout;
  }

  return {
    async run(argv) {
      const [command, path = '', text = ''] = argv;
      if (command === 'end-process') return endProcess(root, path, text).then(() => '');
      if (command !== 'write-file' && command !== 'remove-file') return run(argv);
      const file = below(root, path);
      if (isLink(file)) throw new Error(`${path} is a symbolic link`);
      if (command === 'write-file') writeWhole(file, text);
      else unlinkSync(file);
      return '';
    },
    async readText(path) {
      try {
        const file = openSync(below(root, path), constants.O_RDONLY | constants.O_NOFOLLOW);
        try {
          const text = readFileSync(file, 'utf8');
          if (text.length > MAX_FILE_BYTES) throw new Error(`${path} is larger than ${MAX_FILE_BYTES} bytes`);
          return text;
        } finally {
          closeSync(file);
        }
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return null;
        throw error;
      }
    },
  };
}

function below(root: string, path: string): string {
  if (!path.startsWith('/') || normalize(path) !== path) throw new Error(`${path} is not a whole, plain path`);
  // A link's target would be looked up in the agent's own root file system.
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) {
    if (isLink(join(root, folder))) throw new Error(`${folder} is a symbolic link`);
  }
  return join(root, path);
}

function isLink(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true;
}

/** Replaces a file by another with that text, so that nobody ever sees half of it; it is on disk when this returns. */
function writeWhole(path: string, text: string): void {
  const next = join(dirname(path), `.${basename(path)}.netcheck`);
  rmSync(next, { force: true });
  const file = openSync(next, 'wx', 0o644);
  try {
    // Not one write: on a disk that is nearly full that may end early, without an error.
    writeFileSync(file, text);
    fchmodSync(file, 0o644);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(next, path);
  const folder = openSync(dirname(path), constants.O_RDONLY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function codeOf(error: unknown): string | null {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
}
