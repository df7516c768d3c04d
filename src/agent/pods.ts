import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { PodCounters, PodListener, PodNamespace, PodProcess, PodState } from '../model/wire/agent.ts';

/*
 * Every network namespace on the node that is not the node's own, read through a process in it: no command runs in any
 * pod, and of processes only their name, program, start time and cgroup are looked at. Files of a pod's own file system
 * may be anything, so links are not followed and only regular files are read.
 */

const MAX_NAMESPACES = 512;
const MAX_PROCESSES = 20_000;
const MAX_LISTENERS = 128;
const MAX_FDS = 30_000;
const MAX_FDS_OF_PROCESS = 256;
const MAX_GROUPS = 32;
const MAX_ROUTES = 64;
const MAX_NEIGHBOURS = 32;
const MAX_DEVICES = 8;
const MAX_TABLE_BYTES = 256 * 1024;
const MAX_SMALL_BYTES = 4096;

/** Ticks in a second of the times in /proc/PID/stat: USER_HZ, 100 on every architecture that Kubernetes runs on. */
const TICKS = 100;

/** Runs a command in the network namespace of a process and returns what it printed, or null when it failed. */
export type RunIn = (pid: number, argv: readonly string[]) => Promise<string | null>;

type Limits = { readonly deadlineMs: number; readonly now: () => number };

/** Accepted and refused connections of every pod namespace so far. */
export async function readPodCounters(proc: string, limits: Limits): Promise<PodCounters> {
  const found = namespacesIn(proc);
  const cut = [...found.cut];
  const counters: Record<string, { overflows: number; drops: number }> = {};
  const end = limits.now() + limits.deadlineMs;
  for (const [netns, members] of found.namespaces) {
    if (limits.now() > end) {
      cut.push('the time was up before all namespaces had been read');
      break;
    }
    const counted = throughAny(members, (pid) => listenCounters(readText(`${proc}/${pid}/net/netstat`)));
    if (counted !== null) counters[netns] = counted;
    await nextTurn();
  }
  return { counters, cut };
}

/** The state of every pod namespace: who listens there, addresses, routes, devices, neighbours and resolver. */
export async function readPodState(proc: string, limits: Limits, runIn: RunIn): Promise<PodState> {
  const found = namespacesIn(proc);
  const cut = [...found.cut];
  const uptime = Number.parseFloat(readText(`${proc}/uptime`) ?? '0');
  const budget = { fds: MAX_FDS };
  const namespaces: PodNamespace[] = [];
  const end = limits.now() + limits.deadlineMs;
  for (const [netns, members] of found.namespaces) {
    if (limits.now() > end) {
      cut.push('the time was up before all namespaces had been read');
      break;
    }
    const one = readNamespace(proc, netns, members, uptime, budget, cut);
    // All its processes have ended in the meantime: then so has the namespace.
    if (one !== null) namespaces.push(one);
    await nextTurn();
  }
  if (budget.fds <= 0) cut.push(`not all holders of sockets were looked for: more than ${MAX_FDS} open files`);
  const overflowing = namespaces.filter(({ listening }) => (listening?.overflows ?? 0) > 0).slice(0, MAX_OVERFLOWING);
  const detailed = await Promise.all(
    overflowing.map(async ({ netns, pid }) => {
      const [sockets, somaxconn] = await Promise.all([
        runIn(pid, ['ss', '-H', '-lnt']),
        runIn(pid, ['cat', '/proc/sys/net/core/somaxconn']),
      ]);
      return [
        netns,
        { sockets: (sockets ?? '').slice(0, MAX_SMALL_BYTES), somaxconn: Number.parseInt(somaxconn ?? '', 10) || null },
      ] as const;
    }),
  );
  return { namespaces, backlogs: Object.fromEntries(detailed), cut };
}

/** In how many namespaces, at most, the backlogs are asked for. */
const MAX_OVERFLOWING = 8;

type Member = { readonly pid: number; readonly uid: string | null; readonly container: string | null };

/** Processes by their network namespace, without those in the node's own. */
function namespacesIn(proc: string): {
  readonly namespaces: ReadonlyMap<string, readonly Member[]>;
  readonly cut: readonly string[];
} {
  const own = readlinkSync(`${proc}/1/ns/net`);
  const namespaces = new Map<string, Member[]>();
  const cut: string[] = [];
  let count = 0;
  for (const entry of readdirSync(proc)) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const netns = linkOf(`${proc}/${pid}/ns/net`);
    if (netns === null || netns === own) continue;
    count += 1;
    if (count > MAX_PROCESSES) {
      cut.push(`more than ${MAX_PROCESSES} processes in network namespaces of their own`);
      break;
    }
    const known = namespaces.get(netns);
    const member = { pid, ...cgroupOf(readText(`${proc}/${pid}/cgroup`, MAX_SMALL_BYTES) ?? '') };
    if (known !== undefined) known.push(member);
    else if (namespaces.size < MAX_NAMESPACES) namespaces.set(netns, [member]);
    else if (!cut.some((reason) => reason.includes('namespaces'))) cut.push(`more than ${MAX_NAMESPACES} network namespaces`);
  }
  return { namespaces, cut };
}

/**
 * The pod uid and the container id in the lines of /proc/PID/cgroup: `…-podUID.slice/cri-containerd-ID.scope` of the systemd
 * driver, with underscores in the uid, `…/podUID/ID` of cgroupfs; also with `docker-ID.scope`, `crio-ID.scope`, and the
 * groups that a container makes below its own. Source: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go.
 */
export function cgroupOf(text: string): { readonly uid: string | null; readonly container: string | null } {
  const match = /pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(\/[^\n]*)?/.exec(text);
  if (match === null) return { uid: null, container: null };
  return { uid: (match[1] ?? '').replaceAll('_', '-'), container: /[0-9a-f]{64}/.exec(match[2] ?? '')?.[0] ?? null };
}

function readNamespace(
  proc: string,
  netns: string,
  members: readonly Member[],
  uptime: number,
  budget: { fds: number },
  cut: string[],
): PodNamespace | null {
  const seen = members.flatMap((member) => {
    const process = processOf(proc, member, uptime);
    return process === null ? [] : [process];
  });
  // The sandbox lives as long as the namespace; the files of a pod are seen through a process of one of its containers.
  const sandbox = seen.find(({ comm }) => comm === 'pause') ?? seen[0];
  if (sandbox === undefined) return null;
  const read = readThrough(sandbox, proc, netns, seen, budget, cut);
  if (read.unread.length === 0 || processOf(proc, sandbox, uptime) !== null) return read;
  // It ended meanwhile, and what could not be read is no fault: another of the namespace is asked, if there is one.
  return readNamespace(
    proc,
    netns,
    members.filter(({ pid }) => pid !== sandbox.pid),
    uptime,
    budget,
    cut,
  );
}

function readThrough(
  sandbox: PodProcess,
  proc: string,
  netns: string,
  seen: readonly PodProcess[],
  budget: { fds: number },
  cut: string[],
): PodNamespace {
  const inside = `${proc}/${sandbox.pid}/net`;
  const unread: string[] = [];
  const text = (name: string, maxBytes = MAX_TABLE_BYTES): string | null => {
    const content = readText(`${inside}/${name}`, maxBytes);
    if (content === null) unread.push(name);
    else if (content.length >= maxBytes) unread.push(`${name} (more than ${maxBytes} bytes)`);
    return content;
  };
  const tcp = listenersIn(readListening(`${inside}/tcp`), 'tcp');
  const tcp6 = listenersIn(readListening(`${inside}/tcp6`), 'tcp');
  const udp = listenersIn(text('udp'), 'udp');
  // Without IPv6 in the kernel these are not there.
  const udp6 = listenersIn(readText(`${inside}/udp6`, MAX_TABLE_BYTES), 'udp');
  if (tcp === null) unread.push('tcp');
  const sockets = [...(tcp ?? []), ...(tcp6 ?? []), ...(udp ?? []), ...(udp6 ?? [])];
  if (sockets.length > MAX_LISTENERS) cut.push(`${sockets.length} listening sockets in the namespace of process ${sandbox.pid}`);
  const holders = holdersOf(proc, seen, new Set(sockets.map(({ inode }) => inode)), budget);
  const view = seen.find(({ comm, uid }) => comm !== 'pause' && uid !== null) ?? sandbox;
  const root = `${proc}/${view.pid}/root`;
  const resolvConf = plainPath(root, ['etc', 'resolv.conf']);
  return {
    netns,
    pid: sandbox.pid,
    groups: groupsOf(seen),
    listeners: sockets.slice(0, MAX_LISTENERS).map(({ inode, ...socket }) => ({ ...socket, holder: holders.get(inode) ?? null })),
    listening: listenCounters(text('netstat')),
    addresses: [...addressesIn(text('fib_trie') ?? ''), ...addresses6In(readText(`${inside}/if_inet6`, MAX_TABLE_BYTES) ?? '')],
    routes: routesIn(text('route') ?? '').slice(0, MAX_ROUTES),
    neighbours: neighboursIn(text('arp') ?? '').slice(0, MAX_NEIGHBOURS),
    devices: devicesIn(text('dev') ?? '', plainPath(root, ['sys', 'class', 'net'])),
    resolv: resolverIn(resolvConf === null ? null : readText(resolvConf, MAX_SMALL_BYTES)),
    unread,
  };
}

function processOf(proc: string, { pid, uid, container }: Member, uptime: number): PodProcess | null {
  const stat = readText(`${proc}/${pid}/stat`, MAX_SMALL_BYTES);
  if (stat === null) return null;
  // The name may hold anything, parentheses too: it ends at the last one. proc_pid_stat(5).
  const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (rest[0] === 'Z') return null;
  const start = Number(rest[19] ?? 0);
  const exe = linkOf(`${proc}/${pid}/exe`)?.split('/').at(-1) ?? '';
  return {
    pid,
    start,
    ageS: Math.max(0, Math.round(uptime - start / TICKS)),
    comm: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
    exe,
    uid,
    container,
  };
}

/** How many processes each cgroup has in the namespace, and the oldest of them. */
function groupsOf(processes: readonly PodProcess[]): PodNamespace['groups'] {
  return [...Map.groupBy(processes, ({ uid, container }) => `${uid} ${container}`).values()]
    .slice(0, MAX_GROUPS)
    .flatMap((group) => {
      const oldest = group.reduce((a, b) => (b.start < a.start ? b : a));
      return [{ processes: group.length, oldest }];
    });
}

/** One process for each of the sockets, as far as the budget of open files goes. */
function holdersOf(
  proc: string,
  processes: readonly PodProcess[],
  inodes: ReadonlySet<string>,
  budget: { fds: number },
): ReadonlyMap<string, PodProcess> {
  const holders = new Map<string, PodProcess>();
  for (const process of processes) {
    if (holders.size === inodes.size || budget.fds <= 0) break;
    const directory = `${proc}/${process.pid}/fd`;
    for (const fd of listOf(directory).slice(0, Math.min(MAX_FDS_OF_PROCESS, budget.fds))) {
      budget.fds -= 1;
      const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`${directory}/${fd}`) ?? '')?.[1];
      if (inode !== undefined && inodes.has(inode) && !holders.has(inode)) holders.set(inode, process);
    }
  }
  return holders;
}

/**
 * The beginning of /proc/PID/net/tcp: listening sockets come first, and the file goes through every connection of the
 * machine after them. Source: net/ipv4/tcp_ipv4.c, tcp_get_idx.
 */
function readListening(path: string): string | null {
  return withFile(path, (fd) => {
    let text = '';
    const chunk = Buffer.alloc(4096);
    for (;;) {
      const length = readSync(fd, chunk, 0, chunk.length, null);
      text += chunk.toString('latin1', 0, length);
      // A line of an established connection, whole or cut.
      if (length === 0 || text.length > MAX_TABLE_BYTES || /:[0-9A-F]{4} 0[1-9B] /.test(text)) return text;
    }
  });
}

type Socket = Omit<PodListener, 'holder'> & { readonly inode: string };

/** The listening sockets of /proc/net/tcp, tcp6, udp and udp6; proc_pid_net(5). Null where there is no such file. */
function listenersIn(text: string | null, proto: 'tcp' | 'udp'): readonly Socket[] | null {
  if (text === null) return null;
  const state = proto === 'tcp' ? '0A' : '07';
  return text.split('\n').flatMap((line) => {
    const [, address, port, remote, is, queue, inode] =
      /^\s*\d+: ([0-9A-F]+):([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]{2}) [0-9A-F]+:([0-9A-F]+) \S+ \S+\s+\d+\s+\d+ (\d+)/.exec(
        line,
      ) ?? [];
    if (is !== state || address === undefined || remote !== '0000' || inode === undefined) return [];
    return [
      { proto, ip: addressOf(address), port: Number.parseInt(port ?? '', 16), queued: Number.parseInt(queue ?? '', 16), inode },
    ];
  });
}

/** An address as /proc/net writes it: words of 32 bits in the machine's own byte order, which is little-endian here. */
function addressOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) =>
    (word.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).toReversed(),
  );
  if (bytes.length === 4) return bytes.join('.');
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return isMapped ? bytes.slice(12).join('.') : address6Of(bytes);
}

function address6Of(bytes: readonly number[]): string {
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  // The shortest form of an address, as everybody else writes it.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function listenCounters(netstat: string | null): { overflows: number; drops: number } | null {
  const [names, values] = (netstat ?? '')
    .split('\n')
    .filter((line) => line.startsWith('TcpExt:'))
    .map((line) => line.split(' '));
  const value = (name: string): number => Number(values?.[names?.indexOf(name) ?? -1] ?? Number.NaN);
  const [overflows, drops] = [value('ListenOverflows'), value('ListenDrops')];
  return Number.isNaN(overflows) || Number.isNaN(drops) ? null : { overflows, drops };
}

/** The addresses of the namespace itself: `/32 host LOCAL` below the address, in both tables of /proc/net/fib_trie. */
function addressesIn(trie: string): readonly string[] {
  const addresses = [...trie.matchAll(/\|-- (\d+\.\d+\.\d+\.\d+)\n\s+\/32 host LOCAL/g)].map(([, ip = '']) => ip);
  return [...new Set(addresses)].filter((ip) => !ip.startsWith('127.'));
}

/** Addresses of scope other than host (10) and link (20). proc_pid_net(5), if_inet6. */
function addresses6In(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => {
    const [hex = '', , , scope] = line.trim().split(/\s+/);
    if (hex.length !== 32 || scope === '10' || scope === '20') return [];
    return [address6Of((hex.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)))];
  });
}

/** The main routing table; flags are RTF_* of linux/route.h: 0x2 through a gateway, 0x200 rejects. */
function routesIn(text: string): PodNamespace['routes'] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [dev, destination = '', gateway = '', flags = '', , , , mask = ''] = line.trim().split(/\s+/);
      if (dev === undefined || mask === '') return [];
      const bits = Number.parseInt(flags, 16);
      const prefix = Number.parseInt(mask, 16).toString(2).replaceAll('0', '').length;
      const via = (bits & 0x2) === 0 ? null : addressOf(gateway);
      return [{ dst: `${addressOf(destination)}/${prefix}`, via, dev, rejects: (bits & 0x200) !== 0 }];
    });
}

function neighboursIn(text: string): PodNamespace['neighbours'] {
  return text
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [ip, , flags = '0x0', mac = '', , dev] = line.trim().split(/\s+/);
      // ATF_COM of linux/if_arp.h: an entry without it has no address.
      const isComplete = (Number.parseInt(flags, 16) & 0x2) !== 0;
      return ip === undefined || dev === undefined ? [] : [{ ip, dev, mac: isComplete ? mac : null }];
    });
}

/** Devices other than the loopback one; what /sys says of each as far as the pod has it. */
function devicesIn(text: string, sys: string | null): PodNamespace['devices'] {
  const names = [...text.matchAll(/^\s*([^\s:|]+):/gm)].map(([, name = '']) => name).filter((name) => name !== 'lo');
  return names.slice(0, MAX_DEVICES).map((name) => {
    const value = (file: string): string | null =>
      sys === null ? null : (readText(`${sys}/${name}/${file}`, 64)?.trim() ?? null);
    const [flags, index, iflink, mtu] = [value('flags'), value('ifindex'), value('iflink'), value('mtu')];
    return {
      name,
      up: flags === null ? null : (Number.parseInt(flags, 16) & 1) !== 0,
      index: index === null ? null : Number(index),
      iflink: iflink === null ? null : Number(iflink),
      mac: value('address')?.toLowerCase() ?? null,
      mtu: mtu === null ? null : Number(mtu),
    };
  });
}

/** What resolv.conf(5) says; of several `search` or `domain` lines the last counts. */
function resolverIn(text: string | null): PodNamespace['resolv'] {
  if (text === null) return null;
  const words = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first = '']) => /^[a-z]/.test(first));
  const of = (...keywords: readonly string[]) =>
    words.filter(([first = '']) => keywords.includes(first)).map(([, ...rest]) => rest);
  return {
    nameservers: of('nameserver')
      .flatMap(([ip]) => (ip === undefined ? [] : [ip]))
      .slice(0, 8),
    searches: (of('search', 'domain').at(-1) ?? []).slice(0, 32),
    options: of('options').flat().slice(0, 16),
  };
}

/** What the first of some processes gives that has not ended. */
function throughAny<T>(members: readonly Member[], read: (pid: number) => T | null): T | null {
  for (const { pid } of members.slice(0, 3)) {
    const value = read(pid);
    if (value !== null) return value;
  }
  return null;
}

/**
 * A path below a root that is not trusted, or null when there is none or a link is on the way: it would be followed from
 * our own root.
 */
function plainPath(root: string, parts: readonly string[]): string | null {
  let path = root;
  for (const part of parts) {
    path = `${path}/${part}`;
    try {
      if (lstatSync(path).isSymbolicLink()) return null;
    } catch {
      return null;
    }
  }
  return path;
}

/** The beginning of a regular file; null when it cannot be read. */
function readText(path: string, maxBytes = MAX_TABLE_BYTES): string | null {
  return withFile(path, (fd) => readSome(fd, maxBytes));
}

function readSome(fd: number, maxBytes: number): string {
  const parts: Buffer[] = [];
  for (let left = maxBytes; left > 0; ) {
    const chunk = Buffer.alloc(Math.min(left, 16_384));
    const length = readSync(fd, chunk, 0, chunk.length, null);
    if (length === 0) break;
    parts.push(chunk.subarray(0, length));
    left -= length;
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Opens a file without following a link at its end and without waiting for anything, and only if it is a regular one. */
function withFile<T>(path: string, read: (fd: number) => T): T | null {
  let fd: number | null = null;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    return fstatSync(fd).isFile() ? read(fd) : null;
  } catch {
    // It is not there, or the process ended in the meantime.
    return null;
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

function linkOf(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
}

function listOf(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
