import { isIP } from 'node:net';
import type { Evidence } from '../model/evidence.ts';
import { messageOf } from '../model/text.ts';
import type { Operation, Task } from '../model/wire/agent.ts';
import { type Bounds, now, type Processes, runCommand } from './command.ts';
import { type Listener, listen, send } from './datagrams.ts';
import { askInPairs } from './dns-pairs.ts';
import { runExchanges } from './exchange.ts';
import { readFiles } from './files.ts';
import { type Pings, ping } from './ping.ts';
import { findPodProcess } from './pod-process.ts';
import { readPodCounters, readPodState } from './pods.ts';
import { templateOf } from './template.ts';

/** The catalogue's own readings: the only commands and files that the agent runs and reads, each written as JSON. */
export type Templates = { readonly commands: ReadonlySet<string>; readonly files: ReadonlySet<string> };

/**
 * Where an agent works: its templates, the root file system it reads from, a process of the node's probe pod once that
 * has been found, and what it has open.
 */
export type Workplace = {
  readonly templates: Templates;
  readonly root: string;
  readonly processes: Processes;
  pod: number | null;
  readonly pings: Pings;
  listener: Listener | null;
};

export type Report = (key: string, evidence: Evidence) => void;

/** Carries out one operation of this network namespace and reports its evidence. Never rejects. */
export async function carryOut(task: Task, workplace: Workplace, report: Report): Promise<void> {
  const startedMs = now();
  const bounds: Bounds = task;
  const refusal = refusalOf(task.operation, workplace.templates);
  if (refusal !== null) {
    report(task.key, failure(task.operation, refusal, startedMs, 'denied'));
    return;
  }
  try {
    await OPERATIONS[task.operation.op](task.operation as never, { task, bounds, workplace, report, startedMs });
  } catch (error) {
    report(task.key, failure(task.operation, messageOf(error), startedMs, 'failed'));
  }
}

type Context = {
  readonly task: Task;
  readonly bounds: Bounds;
  readonly workplace: Workplace;
  readonly report: Report;
  readonly startedMs: number;
};

type Operations = {
  readonly [K in Operation['op']]: (operation: Extract<Operation, { op: K }>, context: Context) => Promise<void>;
};

const OPERATIONS: Operations = {
  async run({ argv, tally, needs }, { task, bounds, workplace, report }) {
    const needed = needs === undefined ? null : readFiles([needs], workplace.root, bounds);
    if (needed !== null && needed.exitCode !== 0) report(task.key, { ...needed, argv });
    else report(task.key, await runCommand(argv, bounds, workplace.processes, { tally }));
  },
  async read({ files, lines }, { task, bounds, workplace, report }) {
    report(task.key, readFiles(files, workplace.root, bounds, lines));
  },
  async ping(operation, { task, bounds, workplace, report }) {
    report(task.key, await ping(operation, workplace.pings, bounds, workplace.processes));
  },
  async arp({ dev, targets }, { bounds, workplace, report }) {
    const ask = async (ip: string): Promise<void> =>
      report(`arp ${ip}`, await runCommand(['arping', '-c', '1', '-w', '1', '-I', dev, ip], bounds, workplace.processes));
    await Promise.all(targets.map(ask));
  },
  async 'own-address'({ dev, ip }, { task, bounds, workplace, report }) {
    const question = ['arping', '-D', '-c', '1', '-w', '1', '-I', dev, ip];
    const quick = await runCommand([...WITHIN_LINK_TIME, ...question], bounds, workplace.processes);
    // On a starved node the time is over before arping has begun.
    const isOver = quick.exitCode === INTERRUPTED;
    report(task.key, isOver ? await runCommand(question, bounds, workplace.processes) : quick);
  },
  async 'uplink-counters'({ dev }, { task, bounds, workplace, report }) {
    report(task.key, await runCommand(['ethtool', '-S', dev], bounds, workplace.processes));
  },
  async exchange(operation, { task, workplace, report, startedMs }) {
    const { pings } = workplace;
    if (operation.ifSilent) await pings.silence;
    const wanted = operation.exchanges.filter(({ ip }) => !operation.ifSilent || !pings.answered.has(ip));
    const outcomes = await runExchanges(wanted, operation);
    report(task.key, printed(['exchange'], outcomes, startedMs));
  },
  async 'dns-pairs'(operation, { task, report, startedMs }) {
    const outcomes = await askInPairs(operation);
    report(task.key, printed(['dns-pairs'], outcomes, startedMs));
  },
  async listen({ token }, { task, workplace, report, startedMs }) {
    workplace.listener?.close();
    workplace.listener = await listen(token);
    report(task.key, printed(['listen'], workplace.listener.ports, startedMs));
  },
  async send({ token, targets, count, everyMs }, { task, report, startedMs }) {
    report(task.key, printed(['send'], await send(token, targets, count, everyMs), startedMs));
  },
  async heard(_operation, { task, workplace, report, startedMs }) {
    if (workplace.listener === null) throw new Error('nothing was opened to listen on');
    report(task.key, printed(['heard'], await workplace.listener.heard(), startedMs));
  },
  async find({ uid }, { task, workplace, report, startedMs }) {
    const pid = findPodProcess(uid);
    if (pid === null) throw new Error(`no process of pod ${uid} on this node`);
    workplace.pod = pid;
    report(task.key, printed(['find', uid], pid, startedMs));
  },
  async pods({ what }, { task, bounds, workplace, report, startedMs }) {
    // What is read has to be there before the worker gives the operation up.
    const limits = { deadlineMs: bounds.deadlineMs / 2, now };
    const runIn = async (pid: number, argv: readonly string[]): Promise<string | null> => {
      const ran = await runCommand(['nsenter', `--net=/proc/${pid}/ns/net`, '--', ...argv], bounds, workplace.processes);
      return ran.exitCode === 0 ? ran.stdout : null;
    };
    const value = what === 'counters' ? await readPodCounters('/proc', limits) : await readPodState('/proc', limits, runIn);
    const evidence = printed(['pods', what], value, startedMs);
    const isTooLong = evidence.stdout.length > bounds.maxBytes;
    report(task.key, isTooLong ? { ...evidence, stdout: '', exitCode: null, truncated: true } : evidence);
  },
  async enter() {
    throw new Error('this agent is inside a pod already');
  },
};

/** arping waits for whole seconds; a machine on the same link answers within a few milliseconds or not at all. */
const INTERRUPTED = 130;
const WITHIN_LINK_TIME = ['timeout', '--preserve-status', '--signal=INT', '0.4'];

function printed(argv: readonly string[], value: unknown, startedMs: number): Evidence {
  return {
    argv: [...argv],
    exitCode: 0,
    stdout: JSON.stringify(value),
    stderr: '',
    truncated: false,
    startedMs,
    durationMs: now() - startedMs,
  };
}

export function failure(operation: Operation, message: string, startedMs: number, fault: 'denied' | 'failed'): Evidence {
  const argv = operation.op === 'run' ? operation.argv : [operation.op, operation.in];
  return {
    argv: [...argv],
    exitCode: null,
    stdout: '',
    stderr: message,
    truncated: false,
    fault,
    startedMs,
    durationMs: now() - startedMs,
  };
}

const DEVICE = /^[A-Za-z0-9_.:@-]{1,15}$/;
const MAX_TARGETS = 4096;
const MAX_ARP = 32;

/** Why an operation is refused, or null: its values have to be what the catalogue's templates allow. */
export function refusalOf(operation: Operation, templates: Templates): string | null {
  switch (operation.op) {
    case 'run':
      return templates.commands.has(templateOf(operation)) ? null : 'not a command of the catalogue';
    case 'read':
      return templates.files.has(templateOf(operation)) ? null : 'not files of the catalogue';
    case 'find':
      return /^[0-9a-f-]{8,64}$/i.test(operation.uid) ? null : 'not a pod uid';
    case 'ping':
      return refuseAddresses(operation.targets) ?? refuseFewer(operation.count, 1000);
    case 'arp':
      if (!DEVICE.test(operation.dev)) return 'not the name of a network device';
      return refuseAddresses(operation.targets) ?? refuseFewer(operation.targets.length, MAX_ARP);
    case 'uplink-counters':
      return DEVICE.test(operation.dev) ? null : 'not the name of a network device';
    case 'own-address':
      return DEVICE.test(operation.dev) ? refuseAddresses([operation.ip]) : 'not the name of a network device';
    case 'exchange':
      return refuseAddresses(operation.exchanges.map((exchange) => exchange.ip)) ?? refuseFewer(operation.attempts, 50);
    case 'dns-pairs':
      return refuseAddresses(operation.targets.map((target) => target.ip)) ?? refuseFewer(operation.pairs, 100);
    case 'send':
      return refuseAddresses(operation.targets.map((target) => target.ip)) ?? refuseFewer(operation.count, 1000);
    default:
      return null;
  }
}

function refuseAddresses(addresses: readonly string[]): string | null {
  if (addresses.length > MAX_TARGETS) return `more than ${MAX_TARGETS} targets`;
  const bad = addresses.find((address) => isIP(address) === 0);
  return bad === undefined ? null : `not an address: ${JSON.stringify(bad)}`;
}

function refuseFewer(count: number, most: number): string | null {
  return count >= 1 && count <= most ? null : `a count of ${count} (1 to ${most} are allowed)`;
}
