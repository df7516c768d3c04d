import { type Reading, type Readings } from '../checks/kit/check.ts';
import { readingKey } from '../checks/kit/readings.ts';
import type { Probe } from '../model/probe.ts';
import type { Exchange, Task } from '../model/wire/agent.ts';

/** An answer that is not there after this long does not come, in milliseconds. */
export const PROBE_DEADLINE_MS = 1000;

/** Between two packets to the same target, in milliseconds. */
const PING_EVERY_MS = 15;

/** Between two attempts of an exchange that is not answered, in milliseconds. */
const RETRY_EVERY_MS = 100;

/** Of two answers to queries sent at once the second comes with the first, or does not come; in milliseconds. */
const PAIR_AGAIN_MS = 2000;

/** The IP packet of a plain ping, in bytes: 56 of data, as ping(8) sends. */
const PING_BYTES = 84;

/** What one operation may return, in bytes. Far above what a node of a large cluster prints. */
const MAX_BYTES = 4 * 1024 * 1024;

const READING_DEADLINE_MS = 4000;

/** On a starved machine probes take longer to start and to end than they last; only one that hangs takes this long. */
const GRACE_MS = 6000;

/** When, in a run, something is read on a node. */
export type Moment = 'start' | 'sweep' | 'end';

/** The network namespace that a probe is sent from. */
function placeOf(probe: Probe): 'node' | 'pod' {
  return probe.from.pod === null ? 'node' : 'pod';
}

/** The key that the evidence of a probe's sending side is filed under. */
export function probeKey(probe: Probe): string {
  const where = `${placeOf(probe)} round ${probe.round}`;
  switch (probe.method) {
    case 'ping':
      return `ping ${where} ${probe.bytes ?? PING_BYTES} bytes x${probe.count}${probe.late === true ? ' late' : ''}`;
    case 'arp':
      return `arp ${probe.to.ip}`;
    case 'exec':
      return 'session';
    case 'dns-pair':
      return `dns pairs ${where}`;
    case 'udp':
      return `send ${where}${probe.late === true ? ' late' : ''}`;
    default:
      return `exchange ${where}${probe.ifSilent === true ? ' if silent' : ''}${probe.every === true ? ` every one of ${probe.count}` : ''}`;
  }
}

/** The key under which the receiver of one-way datagrams reports its counts. */
export function heardKey(probe: Probe): string {
  return `heard ${probe.target.kind === 'Pod' ? 'pod' : 'node'} round ${probe.round}`;
}

/** The keys of one reading, and the moments that they are read at. */
export function readingMoments(reading: Reading): readonly { readonly key: string; readonly moment: Moment }[] {
  const key = readingKey(reading);
  switch (reading.when ?? 'sweep') {
    case 'both':
      return [
        // Which device is the uplink is known only when all that is read at the start has been read.
        { key: `${key} @before`, moment: 'asks' in reading ? 'sweep' : 'start' },
        { key: `${key} @after`, moment: 'end' },
      ];
    case 'start':
      return [{ key, moment: 'start' }];
    case 'end':
      return [{ key, moment: 'end' }];
    default:
      return [{ key, moment: 'sweep' }];
  }
}

/** The link that a node's own address is on. */
export type Uplink = { readonly dev: string; readonly ip: string };

/**
 * The tasks of all readings that fall on a moment, each once however many checks ask for it. What is asked on the uplink
 * is left out where that is not known.
 */
export function readingTasks(collects: readonly Readings[], moment: Moment, uplink: Uplink | null = null): readonly Task[] {
  const tasks = new Map<string, Task>();
  for (const reading of collects.flatMap((readings) => Object.values(readings))) {
    for (const due of readingMoments(reading)) {
      if (due.moment !== moment || tasks.has(due.key)) continue;
      const operation = readingOperation(reading, uplink);
      if (operation === null) continue;
      tasks.set(due.key, { key: due.key, operation, deadlineMs: READING_DEADLINE_MS, maxBytes: MAX_BYTES });
    }
  }
  return [...tasks.values()];
}

function readingOperation(reading: Reading, uplink: Uplink | null): Task['operation'] | null {
  if ('argv' in reading) {
    const { in: where, argv, tally, needs } = reading;
    return { op: 'run', in: where, argv: [...argv], tally, needs };
  }
  if ('files' in reading) return { op: 'read', in: reading.in, files: [...reading.files], lines: reading.lines };
  if ('what' in reading) return { op: 'pods', in: 'node', what: reading.what };
  if (uplink === null) return null;
  return reading.asks === 'own-address'
    ? { op: 'own-address', in: 'node', ...uplink }
    : { op: 'uplink-counters', in: 'node', dev: uplink.dev };
}

/** How datagrams of a run are marked, and how the one of a probe is. */
export type Tags = { readonly token: string; readonly tagOf: (probe: Probe) => string };

/**
 * The tasks that send the given probes, all of which start on one node: one ping for all targets of one size, one
 * exchange and one sender for each network namespace.
 */
export function probeTasks(probes: readonly Probe[], uplink: string | null, tags: Tags): readonly Task[] {
  const groups = Map.groupBy(
    probes.filter((probe) => probe.method !== 'exec'),
    (probe) => (probe.method === 'arp' ? 'arp' : probeKey(probe)),
  );
  return [...groups].flatMap(([key, group]) => (key === 'arp' ? arpTask(group, uplink) : probeTask(key, group, tags)));
}

function arpTask(group: readonly Probe[], uplink: string | null): readonly Task[] {
  if (uplink === null) return [];
  const targets = [...new Set(group.map((probe) => probe.to.ip))];
  return [
    {
      key: 'arp',
      operation: { op: 'arp', in: 'node', dev: uplink, targets },
      deadlineMs: PROBE_DEADLINE_MS + GRACE_MS,
      maxBytes: MAX_BYTES,
    },
  ];
}

function probeTask(key: string, group: readonly Probe[], tags: Tags): Task {
  const [first] = group;
  if (first === undefined) throw new TypeError('a group of probes is never empty');
  const where = placeOf(first);
  const count = Math.max(...group.map((probe) => probe.count));
  const limits = { maxBytes: MAX_BYTES };
  switch (first.method) {
    case 'ping': {
      const targets = [...new Set(group.map((probe) => probe.to.ip))];
      const everyMs = Math.max(PING_EVERY_MS, targets.length);
      return {
        key,
        operation: {
          op: 'ping',
          in: where,
          targets,
          count,
          everyMs,
          timeoutMs: PROBE_DEADLINE_MS,
          bytes: first.bytes ?? PING_BYTES,
          df: first.df ?? false,
          // A packet of full size that arrives has shown what it is for; the others count losses.
          until: first.df === true ? 'answered' : 'sent',
        },
        deadlineMs: count * everyMs + PROBE_DEADLINE_MS + GRACE_MS,
        ...limits,
      };
    }
    case 'udp':
      return {
        key,
        operation: {
          op: 'send',
          in: where,
          token: tags.token,
          targets: group.map((probe) => ({ id: tags.tagOf(probe), ip: probe.to.ip, port: probe.to.port ?? 0 })),
          count,
          everyMs: PING_EVERY_MS,
        },
        deadlineMs: count * PING_EVERY_MS + PROBE_DEADLINE_MS + GRACE_MS,
        ...limits,
      };
    case 'dns-pair':
      return {
        key,
        operation: {
          op: 'dns-pairs',
          in: 'pod',
          targets: group.map((probe) => ({
            id: tags.tagOf(probe),
            ip: probe.to.ip,
            port: probe.to.port ?? 0,
            name: probe.name ?? '',
          })),
          pairs: count,
          everyMs: PING_EVERY_MS,
          silentMs: PROBE_DEADLINE_MS,
          againMs: PAIR_AGAIN_MS,
        },
        deadlineMs: count * PING_EVERY_MS + PAIR_AGAIN_MS + 2 * PROBE_DEADLINE_MS + GRACE_MS,
        ...limits,
      };
    default:
      return {
        key,
        operation: {
          op: 'exchange',
          in: where,
          exchanges: group.map((probe) => exchangeOf(probe, tags)),
          attempts: count,
          everyMs: first.every === true ? PING_EVERY_MS : RETRY_EVERY_MS,
          timeoutMs: PROBE_DEADLINE_MS,
          ifSilent: first.ifSilent ?? false,
          until: first.every === true ? 'sent' : 'answered',
        },
        deadlineMs: count * RETRY_EVERY_MS + PROBE_DEADLINE_MS + GRACE_MS,
        ...limits,
      };
  }
}

function exchangeOf(probe: Probe, tags: Tags): Exchange {
  const { method } = probe;
  if (method === 'ping' || method === 'udp' || method === 'arp' || method === 'exec' || method === 'dns-pair')
    throw new TypeError(`${method} is no exchange`);
  return { id: tags.tagOf(probe), method, ip: probe.to.ip, port: probe.to.port ?? 0, name: probe.name ?? '' };
}

const SMALL = { deadlineMs: READING_DEADLINE_MS, maxBytes: MAX_BYTES };

/** The tasks that find a node's probe pod and start the agent inside it, for all that is sent from there. */
export function wayTasks(podUid: string | null): readonly Task[] {
  if (podUid === null) return [];
  return [
    { key: 'find pod', operation: { op: 'find', in: 'node', uid: podUid }, ...SMALL },
    { key: 'enter pod', operation: { op: 'enter', in: 'node' }, ...SMALL },
  ];
}

/** The task that opens an agent's ears, in the node's namespace or in that of its probe pod. */
export function listenTask(token: string, where: 'node' | 'pod'): Task {
  return { key: `listen ${where}`, operation: { op: 'listen', in: where, token }, ...SMALL };
}

/** The tasks that ask an agent what it heard, where it listens. */
export function heardTasks(round: number, listening: { readonly node: unknown; readonly pod: unknown }): readonly Task[] {
  return (['node', 'pod'] as const)
    .filter((where) => listening[where] !== null)
    .map((where) => ({ key: `heard ${where} round ${round}`, operation: { op: 'heard', in: where }, ...SMALL }));
}
