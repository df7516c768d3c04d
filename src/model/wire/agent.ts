import { z } from 'zod';
import { Evidence } from '../evidence.ts';

/*
 * The conversation with an agent: frames (see frames.ts) on its standard input and output. The agent knows only the
 * operations below and, for `run` and `read`, only the catalogue's own readings; it refuses everything else.
 */

const Ip = z.string();

/** A TCP, HTTP, TLS or DNS exchange, tried up to `attempts` times, `everyMs` apart, until one is answered or all are sent. */
export const Exchange = z.strictObject({
  id: z.string(),
  method: z.enum(['tcp', 'http', 'tls', 'dns']),
  ip: Ip,
  port: z.int(),
  /** A path for http, a server name for tls, a name for dns. */
  name: z.string(),
});
export type Exchange = z.infer<typeof Exchange>;

/** What the agent is asked to do. `in` is the node's network namespace or that of the probe pod named by `pod`. */
export const Operation = z.discriminatedUnion('op', [
  z.strictObject({
    op: z.literal('run'),
    in: z.enum(['node', 'pod']),
    argv: z.array(z.string()),
    tally: z.string().optional(),
    needs: z.string().optional(),
  }),
  z.strictObject({
    op: z.literal('read'),
    in: z.enum(['node', 'pod']),
    files: z.array(z.string()),
    lines: z.string().optional(),
  }),
  /** Makes `in: 'pod'` possible: finds a process of the pod by its uid. */
  z.strictObject({ op: z.literal('find'), in: z.literal('node'), uid: z.string() }),
  /** Starts the agent again inside the pod's network namespace, for all that is sent and heard there. */
  z.strictObject({ op: z.literal('enter'), in: z.literal('node') }),
  z.strictObject({
    op: z.literal('ping'),
    in: z.enum(['node', 'pod']),
    targets: z.array(Ip),
    count: z.int(),
    everyMs: z.int(),
    timeoutMs: z.int(),
    /** Length of the IP packet, in bytes. */
    bytes: z.int(),
    df: z.boolean(),
    /** Sends `count` packets to each target, or until one is answered. */
    until: z.enum(['sent', 'answered']),
  }),
  /** Asks for each address on a link by ARP; the evidence of each is filed as `arp ADDRESS`. */
  z.strictObject({ op: z.literal('arp'), in: z.literal('node'), dev: z.string(), targets: z.array(Ip) }),
  /** Asks on a link whether another machine answers for an address that is the node's own; changes nobody's neighbours. */
  z.strictObject({ op: z.literal('own-address'), in: z.literal('node'), dev: z.string(), ip: Ip }),
  /** Reads what the driver of a device counts. */
  z.strictObject({ op: z.literal('uplink-counters'), in: z.literal('node'), dev: z.string() }),
  z.strictObject({
    op: z.literal('exchange'),
    in: z.enum(['node', 'pod']),
    exchanges: z.array(Exchange),
    attempts: z.int(),
    everyMs: z.int(),
    timeoutMs: z.int(),
    /** Waits for the pings of the same namespace to show who is silent, and leaves out whoever has answered. */
    ifSilent: z.boolean(),
    until: z.enum(['sent', 'answered']),
  }),
  /**
   * Asks each server for the IPv4 and the IPv6 address of a name at once, from one socket; `pairs` times, `everyMs` apart,
   * each time from another socket. When `silentMs` have passed without any answer it is given up; when one of the two came
   * and not the other within `againMs`, that is asked for again, and waited for for `silentMs` more.
   */
  z.strictObject({
    op: z.literal('dns-pairs'),
    in: z.literal('pod'),
    targets: z.array(z.strictObject({ id: z.string(), ip: Ip, port: z.int(), name: z.string() })),
    pairs: z.int(),
    everyMs: z.int(),
    silentMs: z.int(),
    againMs: z.int(),
  }),
  /** Opens a UDP socket that counts tagged datagrams; says its port at once. */
  z.strictObject({ op: z.literal('listen'), in: z.enum(['node', 'pod']), token: z.string() }),
  /** Sends tagged datagrams, `count` to each target, `everyMs` apart. */
  z.strictObject({
    op: z.literal('send'),
    in: z.enum(['node', 'pod']),
    token: z.string(),
    targets: z.array(z.strictObject({ id: z.string(), ip: Ip, port: z.int() })),
    count: z.int(),
    everyMs: z.int(),
  }),
  /**
   * Reads the network namespaces of all pods: `counters` of connections that were not accepted, or their whole `state`.
   */
  z.strictObject({ op: z.literal('pods'), in: z.literal('node'), what: z.enum(['counters', 'state']) }),
  /** Says how many datagrams of each tag arrived since `listen`. */
  z.strictObject({ op: z.literal('heard'), in: z.enum(['node', 'pod']) }),
]);
export type Operation = z.infer<typeof Operation>;

/** An operation with the key that its evidence is filed under, its deadline (ms) and its output cap (bytes). */
export const Task = z.strictObject({ key: z.string(), operation: Operation, deadlineMs: z.int(), maxBytes: z.int() });
export type Task = z.infer<typeof Task>;

/** Worker → agent. All tasks of a `do` run side by side; `beat` says that the worker is there; `end` ends the agent. */
export type ToAgent =
  | { readonly type: 'do'; readonly round: number; readonly tasks: readonly Task[] }
  | { readonly type: 'beat' }
  | { readonly type: 'end' };

/** Agent → worker. `ready` comes once, first; `done` when every task of the round has its result. */
export const FromAgent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('ready'), protocol: z.int(), version: z.string() }),
  z.strictObject({ type: z.literal('result'), key: z.string(), evidence: Evidence }),
  z.strictObject({ type: z.literal('done'), round: z.int() }),
]);
export type FromAgent = z.infer<typeof FromAgent>;

/** What the agent prints, as JSON, for `exchange`: one entry for each exchange, in the order asked. */
export const ExchangeOutcome = z.strictObject({
  id: z.string(),
  attempts: z.int(),
  answered: z.int(),
  /** `ok`, an errno name (`ECONNREFUSED`), `TIMEOUT`, or for DNS the answer's rcode. */
  result: z.string(),
  /** Milliseconds to the answer, or to the error, of the last attempt. */
  ms: z.number(),
  /** HTTP status, addresses of a DNS answer, or the TLS peer's message. */
  detail: z.string(),
});
export type ExchangeOutcome = z.infer<typeof ExchangeOutcome>;

/**
 * Two queries that were sent at once: milliseconds to the answer of each, null where none came; `again` where only one of
 * them was answered and the other was sent once more; what the kernel or socat(1) said.
 */
export const DnsPair = z.strictObject({
  a: z.number().nullable(),
  aaaa: z.number().nullable(),
  again: z.boolean(),
  error: z.string(),
});
export type DnsPair = z.infer<typeof DnsPair>;

/** What the agent prints, as JSON, for `dns-pairs`: one entry for each server. */
export const DnsPairsOutcome = z.strictObject({ id: z.string(), pairs: z.array(DnsPair) });
export type DnsPairsOutcome = z.infer<typeof DnsPairsOutcome>;

/** What the agent prints, as JSON, for `listen`. */
export const Listening = z.strictObject({ udp: z.int() });
export type Listening = z.infer<typeof Listening>;

/** What the agent prints, as JSON, for `send` (datagrams handed to the kernel and errors) and `heard` (datagrams counted). */
export const DatagramCounts = z.record(z.string(), z.int());
export type DatagramCounts = z.infer<typeof DatagramCounts>;
export const SendOutcome = z.strictObject({ sent: DatagramCounts, errors: z.record(z.string(), z.string()) });
export type SendOutcome = z.infer<typeof SendOutcome>;

/** Connections that a namespace's listening sockets could not take since it was made: TcpExt of /proc/PID/net/netstat. */
const ListenCounters = z.strictObject({ overflows: z.int(), drops: z.int() });

/** What the agent prints, as JSON, for `pods` with `counters`, by namespace (`net:[4026532393]`). `cut` says what was left out. */
export const PodCounters = z.strictObject({ counters: z.record(z.string(), ListenCounters), cut: z.array(z.string()) });
export type PodCounters = z.infer<typeof PodCounters>;

/**
 * A process in a pod's namespace. `start` is in clock ticks since boot and tells apart processes that get the same id;
 * `uid` (of the pod) and `container` are from its cgroup, null for a process that is in none of a pod's.
 */
export const PodProcess = z.strictObject({
  pid: z.int(),
  start: z.int(),
  ageS: z.int(),
  comm: z.string(),
  exe: z.string(),
  uid: z.string().nullable(),
  container: z.string().nullable(),
});
export type PodProcess = z.infer<typeof PodProcess>;

/** A listening socket. `queued` is what waits in it: connections to accept (tcp), bytes (udp). */
export const PodListener = z.strictObject({
  proto: z.enum(['tcp', 'udp']),
  ip: z.string(),
  port: z.int(),
  queued: z.int(),
  holder: PodProcess.nullable(),
});
export type PodListener = z.infer<typeof PodListener>;

/**
 * A network namespace that is not the node's own. `pid` is a process in it; `groups` are its processes by cgroup;
 * `addresses` without those of loopback and link; `devices` without the loopback device, null what its /sys does not
 * show (`iflink` is the index of a veth's other end, or its own for what has none); `resolv` is null when the pod has no such file; `unread` what could not be read, or not whole.
 */
export const PodNamespace = z.strictObject({
  netns: z.string(),
  pid: z.int(),
  groups: z.array(z.strictObject({ processes: z.int(), oldest: PodProcess })),
  listeners: z.array(PodListener),
  listening: ListenCounters.nullable(),
  addresses: z.array(z.string()),
  routes: z.array(z.strictObject({ dst: z.string(), via: z.string().nullable(), dev: z.string(), rejects: z.boolean() })),
  neighbours: z.array(z.strictObject({ ip: z.string(), dev: z.string(), mac: z.string().nullable() })),
  devices: z.array(
    z.strictObject({
      name: z.string(),
      up: z.boolean().nullable(),
      index: z.int().nullable(),
      iflink: z.int().nullable(),
      mac: z.string().nullable(),
      mtu: z.int().nullable(),
    }),
  ),
  resolv: z
    .strictObject({ nameservers: z.array(z.string()), searches: z.array(z.string()), options: z.array(z.string()) })
    .nullable(),
  unread: z.array(z.string()),
});
export type PodNamespace = z.infer<typeof PodNamespace>;

/**
 * What the agent prints, as JSON, for `pods` with `state`. `backlogs` are of namespaces whose listening sockets have
 * overflowed: their lines of `ss -lnt`, and the limit net.core.somaxconn there.
 */
export const PodState = z.strictObject({
  namespaces: z.array(PodNamespace),
  backlogs: z.record(z.string(), z.strictObject({ sockets: z.string(), somaxconn: z.int().nullable() })),
  cut: z.array(z.string()),
});
export type PodState = z.infer<typeof PodState>;
