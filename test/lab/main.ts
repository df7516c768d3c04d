import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearNames } from '../../src/model/near-names.ts';
import { messageOf } from '../../src/model/text.ts';
import { type Handle, openLab } from './handle.ts';
import { exitStatus, labEnvironment } from './run.ts';
import { isAlive, labExists, readState, runningLabs } from './state.ts';
import { NetworkKind } from './topology.ts';

const USAGE = `usage:
  npm run -s lab -- up [--name N] [--nodes COUNT] [--network vxlan|host-gw|kubenet]
      build a lab; the last line is a JSON object that describes it
  npm run -s lab -- exec N WHERE -- CMD ARG…              run a command as root in rack, cp, gw, node-2 or default/web-1
  npm run -s lab -- fault N FAULT [--node NODE] [--peer NODE]
  npm run -s lab -- heal N FAULT [--node NODE]
  npm run -s lab -- faults                                list the faults
  npm run -s lab -- down N
`;

const COMMANDS: Readonly<Record<string, (args: string[]) => Promise<number>>> = {
  up,
  exec,
  fault: putFault,
  heal,
  faults,
  down,
  supervise,
};

async function main(argv: readonly string[]): Promise<number> {
  const [name = 'help', ...args] = argv;
  if (['help', '--help', '-h'].includes(name)) {
    process.stdout.write(USAGE);
    return argv.length === 0 ? 3 : 0;
  }
  const command = COMMANDS[name];
  if (command !== undefined) return command(args);
  const near = nearNames(name, Object.keys(COMMANDS));
  throw new Error(`no command '${name}'${near.length === 0 ? '' : `, did you mean ${near.join(' or ')}?`}\n${USAGE}`);
}

async function up(args: string[]): Promise<number> {
  const { name, nodes, network } = upOptions(args);
  // The supervisor takes the lab down when its standard input ends before it was told to keep it; so does every end of
  // this process before that, a kill among them.
  const options = ['--name', name, '--nodes', String(nodes), '--network', network];
  const child = spawn(process.execPath, [import.meta.filename, 'supervise', ...options], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  child.stdin.on('error', () => {});
  child.stderr.pipe(process.stderr);
  const ended = once<null>((done) => child.once('exit', () => done(null)));
  const ready = once<string>((done) => createInterface({ input: child.stdout }).once('line', done));
  const stopped = once<null>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => done(null));
  });
  const line = await Promise.race([ready, ended, stopped]);
  if (line === null) {
    child.stdin.end();
    await ended;
    while (labExists(name) && !runningLabs().includes(name)) await delay(20);
    return 1;
  }
  await once<void>((done) => child.stdin.end('keep\n', () => done()));
  process.stdout.write(`${line}\n`);
  return 0;
}

/** Holds a lab until it is told to end: the hidden half of `up`. */
async function supervise(args: string[]): Promise<number> {
  const { name, nodes, network } = upOptions(args);
  const told = once<string | null>((done) => {
    const lines = createInterface({ input: process.stdin });
    lines.once('line', done);
    lines.once('close', () => done(null));
  });
  const stopped = once<null>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => done(null));
  });
  // Who started this process is gone once the lab is up; what is said after that, nobody hears.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  const { createLab } = await import('./lab.ts');
  const built = createLab({ name, nodes, network, log: (message) => void process.stderr.write(`${message}\n`) });
  const lab = await Promise.race([built, stopped, told.then((line) => (line === null ? null : built))]);
  // Leaving without more ado is safe: the lab goes with this process.
  if (lab === null) return 1;
  process.stdout.write(`${JSON.stringify(describe(lab))}\n`);
  if ((await Promise.race([told, stopped])) !== null) await Promise.race([lab.gone, stopped]);
  await lab.down();
  return 0;
}

function describe({ name, kubeconfig, topology }: Handle): object {
  return {
    name,
    kubeconfig,
    nodes: topology.nodes.map(({ name: node, ip, mac, podCIDR }) => ({ name: node, ip, mac, podCIDR })),
    pods: topology.pods.map(({ namespace, name: pod, node, ip }) => ({ namespace, name: pod, node, ip })),
  };
}

async function exec(args: string[]): Promise<number> {
  const [name, where, separator, ...argv] = args;
  if (name === undefined || where === undefined || separator !== '--' || argv.length === 0) {
    throw new Error(`exec takes a lab, a place and, after --, a command\n${USAGE}`);
  }
  const [program = '', ...rest] = openLab(name).command(where, argv);
  // At a terminal the command has to be in its foreground process group. Elsewhere it gets a group of its own, so that
  // a signal to this process ends what nsenter forked as well.
  const isTerminal = process.stdin.isTTY;
  const child = spawn(program, rest, { stdio: 'inherit', env: labEnvironment(), detached: !isTerminal });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (!isTerminal && child.pid !== undefined) process.kill(-child.pid, signal);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(exitStatus(code, signal)));
  });
}

async function putFault(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { node: { type: 'string' }, peer: { type: 'string' } }, 2);
  const { describePlace, injectFault } = await import('./faults/index.ts');
  const [lab = '', name = ''] = positionals;
  const place = {
    ...(values['node'] === undefined ? {} : { node: values['node'] }),
    ...(values['peer'] === undefined ? {} : { peer: values['peer'] }),
  };
  const { fault, at } = await injectFault(openLab(lab), name, place);
  process.stdout.write(`${fault.title}: put in ${describePlace(fault, at)}\n`);
  return 0;
}

async function heal(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { node: { type: 'string' } }, 2);
  const { healFault } = await import('./faults/index.ts');
  const [lab = '', name = ''] = positionals;
  await healFault(openLab(lab), name, values['node']);
  return 0;
}

async function faults(args: string[]): Promise<number> {
  parse(args, {}, 0);
  const { FAULTS } = await import('./faults/index.ts');
  const width = Math.max(...Object.keys(FAULTS).map((name) => name.length));
  for (const { name, row, placement, title } of Object.values(FAULTS)) {
    process.stdout.write(`${name.padEnd(width)}  ${row.padEnd(4)}  ${placement.padEnd(8)}  ${title}\n`);
  }
  return 0;
}

async function down(args: string[]): Promise<number> {
  const { positionals } = parse(args, {}, 1);
  const [name = ''] = positionals;
  const { supervisor } = readState(name);
  process.kill(supervisor.pid, 'SIGTERM');
  while (isAlive(supervisor) || labExists(name)) await delay(20);
  return 0;
}

function upOptions(args: string[]): { name: string; nodes: number; network: NetworkKind } {
  const { values } = parse(
    args,
    {
      name: { type: 'string', default: 'lab' },
      nodes: { type: 'string', default: '6' },
      network: { type: 'string', default: 'vxlan' },
    },
    0,
  );
  const nodes = Number(values['nodes']);
  if (!Number.isInteger(nodes) || nodes < 1)
    throw new Error(`--nodes takes a whole number of 1 or more, not '${values['nodes']}'`);
  const network = NetworkKind.safeParse(values['network']);
  if (!network.success) throw new Error(`--network takes ${NetworkKind.options.join(', ')}, not '${values['network']}'`);
  return { name: values['name'] ?? '', nodes, network: network.data };
}

/** Parses options and exactly so many positional arguments. */
function parse(
  args: string[],
  options: NonNullable<ParseArgsConfig['options']>,
  count: number,
): { values: Record<string, string | undefined>; positionals: string[] } {
  try {
    const { values, positionals } = parseArgs({ args, options, allowPositionals: true });
    if (positionals.length === count) return { values: values as Record<string, string | undefined>, positionals };
  } catch (error) {
    throw new Error(`${messageOf(error)}\n${USAGE}`, { cause: error });
  }
  throw new Error(`that command takes ${count} arguments beside its options\n${USAGE}`);
}

function once<T>(executor: (done: (value: T) => void) => void): Promise<T> {
  return new Promise(executor);
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`lab: ${messageOf(error)}\n`);
    process.exit(3);
  },
);
