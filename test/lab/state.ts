import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { Topology } from './topology.ts';

/**
 * What is known about a running lab, in `state.json` of its directory. Process ids are those that the machine sees:
 * `rack` is process 1 of the rack's namespaces, `nodes` process 1 of each node's. `supervisor` is the process that the
 * lab lives as long as; `started` is its start time from /proc/PID/stat, since ids are used again.
 */
export const LabState = z.strictObject({
  schema: z.literal('netcheck.lab/v1'),
  name: z.string(),
  supervisor: z.strictObject({ pid: z.int(), started: z.string() }),
  rack: z.int(),
  nodes: z.record(z.string(), z.int()),
  topology: Topology,
  api: z.strictObject({ server: z.string(), ca: z.string(), token: z.string() }),
  kubeconfig: z.string(),
  directory: z.string(),
});
export type LabState = z.infer<typeof LabState>;

const LabName = z.string().regex(/^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/i);

/** The longest path of a Unix socket that the kernel takes, with its final zero byte. */
const MAX_SOCKET_PATH = 108;

/** The directory with a directory for each lab of this user. */
export function labsDirectory(): string {
  return join(tmpdir(), `netcheck-lab-${process.getuid?.() ?? 0}`);
}

/**
 * Makes the directory of a new lab and so takes its name. Throws with a clear message when the name is not usable or
 * is taken by a lab that runs. What a dead lab left under the name is removed.
 */
export async function takeLabDirectory(name: string): Promise<string> {
  if (!LabName.safeParse(name).success) {
    throw new Error(`'${name}' is no name for a lab: up to 30 letters, digits and inner hyphens`);
  }
  removeDeadLabs();
  const directory = join(labsDirectory(), name);
  if (join(directory, 'run/kubelet-node-1000.sock').length >= MAX_SOCKET_PATH) {
    throw new Error(`${directory} is too long a path for the lab's sockets: set TMPDIR to a shorter one`);
  }
  const aside = await makeAside();
  try {
    await rename(aside, directory);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!['EEXIST', 'ENOTEMPTY'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new Error(`a lab named ${name} is there already: take another name, or end it with: npm run lab -- down ${name}`, {
      cause: error,
    });
  }
  return directory;
}

/** Removes the directory of a lab, and what was above it when it was the last one. */
export async function removeLabDirectory(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  await rmdir(labsDirectory()).catch(() => {});
}

/** The directory of a lab to be, under another name: whoever sees it under its own sees whose it is, and only one gets it. */
async function makeAside(): Promise<string> {
  await mkdir(labsDirectory(), { recursive: true, mode: 0o700 });
  let aside: string;
  try {
    aside = await mkdtemp(join(labsDirectory(), '.new-'));
  } catch (error) {
    // The last lab that ends takes the parent away with it.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return makeAside();
    throw error;
  }
  await writeFile(join(aside, 'owner'), JSON.stringify(ownIdentity()));
  await mkdir(join(aside, 'run'));
  await mkdir(join(aside, 'root'));
  return aside;
}

/** Writes a lab's state in one step, so that no reader sees half of it. */
export async function writeState(state: LabState): Promise<void> {
  const path = join(state.directory, 'state.json');
  await writeFile(`${path}.new`, JSON.stringify(state));
  await rename(`${path}.new`, path);
}

/** The state of a running lab by its name. Throws with the names that exist when there is none. */
export function readState(name: string): LabState {
  const running = runningLabs();
  if (!running.includes(name)) {
    const others = running.length === 0 ? 'none is running' : `running: ${running.join(', ')}`;
    throw new Error(
      `there is no lab named '${name}' (${others}). Start one with: npm run lab -- up --name ${name || 'NAME'} --nodes 6`,
    );
  }
  return LabState.parse(JSON.parse(readFileSync(join(labsDirectory(), name, 'state.json'), 'utf8')));
}

/** The names of the labs that are up. */
export function runningLabs(): string[] {
  return directories().filter((name) => isOwned(name) && has(name, 'state.json'));
}

/** Whether a lab's directory is still there. */
export function labExists(name: string): boolean {
  return directories().includes(name);
}

/** Whether a process lives, and is the one that was meant. */
export function isAlive(identity: LabState['supervisor']): boolean {
  return startTime(identity.pid) === identity.started;
}

/** This process, as a lab's supervisor. */
export function ownIdentity(): LabState['supervisor'] {
  return { pid: process.pid, started: startTime(process.pid) ?? '' };
}

/** Removes the directories of labs whose supervisor is gone. Their processes and namespaces went with it. */
function removeDeadLabs(): void {
  for (const name of directories()) {
    if (!isOwned(name)) rmSync(join(labsDirectory(), name), { recursive: true, force: true });
  }
}

/** Whether the process that made the lab's directory lives. */
function isOwned(name: string): boolean {
  const text = read(name, 'owner');
  return text !== null && isAlive(LabState.shape.supervisor.parse(JSON.parse(text)));
}

function directories(): string[] {
  try {
    return readdirSync(labsDirectory())
      .filter((name) => !name.startsWith('.'))
      .sort();
  } catch {
    return [];
  }
}

function has(name: string, file: string): boolean {
  return read(name, file) !== null;
}

function read(name: string, file: string): string | null {
  try {
    return readFileSync(join(labsDirectory(), name, file), 'utf8');
  } catch {
    return null;
  }
}

/**
 * The start time of a process in clock ticks since boot (proc(5), /proc/PID/stat, field 22); null when there is none, or
 * it has ended and only waits for its parent to notice.
 */
function startTime(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? null : (rest[18] ?? null);
  } catch {
    return null;
  }
}
