import { expect, test } from 'vitest';
import { simulate } from '../../test/simulate.ts';
import type { AgentConnection, Cluster } from '../cluster/port.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Operation, ToAgent } from '../model/wire/agent.ts';
import { AGENT_PROTOCOL, createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { type Collected, collect } from './collect.ts';
import { tagsOf } from './judge.ts';
import { probeResults } from './results.ts';

/** What an agent says to an operation: text, what it prints as JSON, or null where the operation fails. */
type Says = (operation: Operation) => unknown;

/** Every ping and exchange is answered, every datagram is sent and arrives; nothing can be read. */
const inOrder: Says = (operation) => {
  switch (operation.op) {
    case 'find':
    case 'enter':
      return 1;
    case 'listen':
      return { udp: 40_000 };
    case 'ping':
      return operation.targets.map((ip) => `${ip} is alive`).join('\n');
    case 'exchange':
      return operation.exchanges.map(({ id }) => ({ id, attempts: 1, answered: 1, result: 'ok', ms: 1, detail: '10.0.0.1' }));
    case 'send':
      return { sent: Object.fromEntries(operation.targets.map(({ id }) => [id, operation.count])), errors: {} };
    case 'heard':
      return Object.fromEntries(Array.from({ length: 200 }, (_, id) => [String(id), 100]));
    default:
      return null;
  }
};

/** Collects in a cluster of three nodes whose agents say what they are told to. `late` answers when the others are sweeping. */
async function collected(agents: Readonly<Record<string, Says>>, late?: string, only?: ReadonlySet<string>): Promise<Collected> {
  const { inventory } = simulate(3);
  const sweeping = Promise.withResolvers<void>();
  const cluster: Cluster = {
    name: 'simulated',
    inventory: async () => ({ ok: true, value: inventory }),
    openAgent: async (node) => ({
      ok: true,
      value: await agent(agents[node] ?? inOrder, node === late ? sweeping.promise : Promise.resolve(), sweeping.resolve),
    }),
    close: async () => {},
  };
  return collect({
    cluster,
    inventory,
    request: { kind: 'cluster' },
    token: 'token',
    signal: new AbortController().signal,
    now: () => performance.now(),
    onPhase: () => {},
    limits: { readyMs: 5000, quietMs: 50, roundMs: 5000 },
    ...(only === undefined ? {} : { only }),
  });
}

async function agent(says: Says, ready: Promise<void>, onSend: () => void): Promise<AgentConnection> {
  const frames = createFrameReader(MAX_FRAME_BYTES);
  const output = new TransformStream<Uint8Array, Uint8Array>(undefined, { highWaterMark: 1000 }, { highWaterMark: 1000 });
  const writer = output.writable.getWriter();
  const say = (message: unknown): void => void writer.write(encodeFrame(message)).catch(() => {});
  const carryOut = ({ tasks, round }: Extract<ToAgent, { type: 'do' }>): void => {
    for (const { key, operation } of tasks) {
      if (operation.op === 'exchange') onSend();
      const value = says(operation);
      const common = { argv: [operation.op, operation.in], truncated: false, startedMs: 0, durationMs: 0 };
      const evidence: Evidence =
        value === null
          ? { ...common, exitCode: null, stdout: '', stderr: 'too many open files', fault: 'failed' }
          : { ...common, exitCode: 0, stdout: typeof value === 'string' ? value : JSON.stringify(value), stderr: '' };
      say({ type: 'result', key, evidence });
    }
    say({ type: 'done', round });
  };
  void ready.then(() => say({ type: 'ready', protocol: AGENT_PROTOCOL, version: 'test' }));
  return {
    output: output.readable,
    write(chunk) {
      const messages = frames.push(chunk);
      if ('kind' in messages) throw new Error(messages.message);
      for (const message of messages as readonly ToAgent[]) if (message.type === 'do') void ready.then(() => carryOut(message));
    },
    ended: Promise.resolve(null),
    close: () => void writer.close().catch(() => {}),
  };
}

/** Which nodes were measured one way, and whether all of it was counted. */
function oneWay({ plan, evidence }: Collected): readonly string[] {
  const results = probeResults(plan.probes, new Map(evidence.map((item) => [item.node, item])), tagsOf(plan.probes));
  return plan.probes
    .filter(({ method, check }) => method === 'udp' && check === 'node-to-node')
    .map(({ id, from, to }) => `${from.node} > ${to.node} ${results.get(id)?.status}`)
    .toSorted();
}

const EVERY_WAY = [
  'node-1 > node-2 pass',
  'node-1 > node-3 pass',
  'node-2 > node-1 pass',
  'node-2 > node-3 pass',
  'node-3 > node-1 pass',
  'node-3 > node-2 pass',
];

test('where all answer in time every way is measured, and nothing is missing', async () => {
  const run = await collected({});
  expect([oneWay(run), run.plan.omitted]).toEqual([EVERY_WAY, []]);
});

test('the ways to a node that answers late are measured as well', async () => {
  const run = await collected({}, 'node-3');
  expect(run.plan.probes.filter(({ late }) => late === true).map(({ to }) => to.node)).toEqual(['node-3', 'node-3']);
  expect([oneWay(run), run.plan.omitted]).toEqual([EVERY_WAY, []]);
});

/** An agent on a node whose uplink has this MTU; packets of 9000 bytes get no answer anywhere. */
const uplinkOf =
  (index: number, mtu: number): Says =>
  (operation) => {
    if (operation.op === 'ping' && operation.bytes === 9000)
      return operation.targets.map((ip) => `${ip} is unreachable`).join('\n');
    if (operation.op !== 'run' || !operation.argv.includes('address')) return inOrder(operation);
    const addresses = [{ family: 'inet', local: `10.28.0.1${index}`, prefixlen: 24 }];
    return [{ ifname: 'eth0', flags: ['UP'], mtu, operstate: 'UP', addr_info: addresses }];
  };

test('packets that are larger than a node takes which answers late are sent again with its size, and do not count', async () => {
  const agents = { 'node-1': uplinkOf(1, 9000), 'node-2': uplinkOf(2, 9000), 'node-3': uplinkOf(3, 1500) };
  const { plan, evidence } = await collected(agents, 'node-3');
  const results = probeResults(plan.probes, new Map(evidence.map((item) => [item.node, item])), tagsOf(plan.probes));
  const toLate = plan.probes.filter(({ bytes, from, to }) => bytes !== undefined && from.pod === null && to.node === 'node-3');
  expect(toLate.map(({ id, late }) => [id, late, results.get(id)?.status])).toEqual([
    ['full-size-packets ping 1500 bytes node-1 > node-3 10.28.0.13', true, 'pass'],
    ['full-size-packets ping 1500 bytes node-2 > node-3 10.28.0.13', true, 'pass'],
  ]);
  // What nodes know an exchange by is still its own.
  const exchanges = plan.probes.filter(({ method }) => method === 'tcp');
  expect(new Set(exchanges.map(({ id }) => results.get(id)?.status))).toEqual(new Set(['pass']));
});

const deaf: Says = (operation) => (operation.op === 'listen' ? null : inOrder(operation));
const GAP = { what: 'one-way probes to the node', where: 'node-2', reason: 'listen node: too many open files' };

test('a node that could not listen is told, and the ways to it are not measured', async () => {
  const run = await collected({ 'node-2': deaf });
  expect([oneWay(run), run.plan.omitted]).toEqual([EVERY_WAY.filter((way) => !way.includes('> node-2')), [GAP]]);
});

test('a run for certain probes alone does not tell what it was not to look at', async () => {
  const { plan } = await collected({ 'node-2': deaf }, undefined, new Set(['node-to-node tcp node-1 > node-2 10.28.0.12']));
  expect([plan.probes.length, plan.omitted]).toEqual([1, []]);
});

test('a probe pod that could not be entered is told where its datagrams were to be counted', async () => {
  // Nothing in the pod network answers, so that directions are asked for there.
  const cut: Says = (operation) => {
    if (operation.op === 'enter') return null;
    if (operation.op === 'ping')
      return operation.targets.map((ip) => `${ip} is ${ip.startsWith('172.') ? 'unreachable' : 'alive'}`).join('\n');
    if (operation.op !== 'exchange') return inOrder(operation);
    return operation.exchanges.map(({ id, ip }) => {
      const [answered, result] = ip.startsWith('172.') ? [0, 'TIMEOUT'] : [1, 'ok'];
      return { id, attempts: 1, answered, result, ms: 1, detail: '10.0.0.1' };
    });
  };
  const { plan } = await collected({ 'node-1': cut, 'node-2': cut, 'node-3': cut });
  const reason = 'enter node: too many open files';
  expect(plan.omitted).toEqual(
    ['node-1', 'node-2', 'node-3'].map((where) => ({ what: 'one-way probes to the probe pod', where, reason })),
  );
});
