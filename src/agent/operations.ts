import { isIP } from 'node:net';
import type { Evidence } from '../model/evidence.ts';
import type { Operation, Task } from '../model/wire/agent.ts';
import { type Bounds, now, type Processes, runCommand } from './command.ts';
import { type Listener, listen, send } from './datagrams.ts';
import { runExchanges } from './exchange.ts';
import { readFiles } from './files.ts';
import { ping } from './ping.ts';

/** The catalogue's own readings: the only commands and files that the agent runs and reads, each written as JSON. */
export type Templates = { readonly commands: ReadonlySet<string>; readonly files: ReadonlySet<string> };

/** Where an agent works: its templates, the root file system it reads from, and what it has open. */
export type Workplace = {
  readonly templates: Templates;
  readonly root: string;
  readonly processes: Processes;
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
    report(task.key, failure(task.operation, error instanceof Error ? error.message : String(error), startedMs, 'failed'));
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
  async run({ argv }, { task, bounds, workplace, report }) {
    report(task.key, await runCommand(argv, bounds, workplace.processes));
  },
  async read({ files }, { task, bounds, workplace, report }) {
    report(task.key, readFiles(files, workplace.root, bounds));
  },
  async ping(operation, { task, bounds, workplace, report }) {
    const evidence = await ping(operation, bounds, workplace.processes);
    for (const [ip, arp] of evidence.arp) report(`arp ${ip}`, arp);
    report(task.key, evidence.ping);
  },
  async exchange(operation, { task, report, startedMs }) {
    const outcomes = await runExchanges(operation.exchanges, operation);
    report(task.key, printed(['exchange'], outcomes, startedMs));
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
  async capture({ dev, peers, udpPort, max, forMs }, { task, bounds, workplace, report }) {
    const hosts = peers.flatMap((peer, index) => [...(index > 0 ? ['or'] : []), 'host', peer]);
    const protocols = udpPort === null ? ['icmp'] : ['(', 'icmp', 'or', 'udp', 'port', String(udpPort), ')'];
    // timeout(1) ends tcpdump in the ordinary way, so that it prints what it has; 124 is then its exit status.
    const seconds = (forMs / 1000).toFixed(1);
    const argv = [
      'timeout',
      seconds,
      'tcpdump',
      '-nn',
      '-tt',
      '-q',
      '-e',
      '-i',
      dev,
      '-c',
      String(max),
      ...protocols,
      'and',
      '(',
      ...hosts,
      ')',
    ];
    report(task.key, await runCommand(argv, bounds, workplace.processes));
  },
  async enter() {
    throw new Error('this agent is inside a pod already');
  },
};

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

/** Why an operation is refused, or null: its values have to be what the catalogue's templates allow. */
export function refusalOf(operation: Operation, templates: Templates): string | null {
  switch (operation.op) {
    case 'run':
      return templates.commands.has(JSON.stringify(operation.argv)) ? null : 'not a command of the catalogue';
    case 'read':
      return templates.files.has(JSON.stringify(operation.files)) ? null : 'not files of the catalogue';
    case 'enter':
      return /^[0-9a-f-]{8,64}$/i.test(operation.uid) ? null : 'not a pod uid';
    case 'ping':
      if (operation.arp !== null && !DEVICE.test(operation.arp.dev)) return 'not the name of a network device';
      return refuseAddresses([...operation.targets, ...(operation.arp?.targets ?? [])]) ?? refuseFewer(operation.count, 1000);
    case 'exchange':
      return refuseAddresses(operation.exchanges.map((exchange) => exchange.ip)) ?? refuseFewer(operation.attempts, 10);
    case 'send':
      return refuseAddresses(operation.targets.map((target) => target.ip)) ?? refuseFewer(operation.count, 1000);
    case 'capture':
      if (!DEVICE.test(operation.dev)) return 'not the name of a network device';
      return refuseAddresses(operation.peers) ?? refuseFewer(operation.max, 20_000);
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
