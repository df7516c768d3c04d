import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { cgroupOf, readPodCounters, readPodState } from './pods.ts';

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const UID = 'db9ed086-edba-11e8-bdd6-42010a800164';
const ID = '44e76e50e5ef4156fd5d383744fa6a5f14460582d0b16855177cbed89a3cbd1f';
const SANDBOX = '276e173b0846e24b704d41cf4fbb950bfa5d0f59c304827349f4cf5091be3327';
const slice = `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice`;

test.for([
  [`0::${slice}/cri-containerd-${ID}.scope`, 'containerd, systemd'],
  [`0::/../..${slice}/cri-containerd-${ID}.scope`, 'seen from a cgroup namespace'],
  [`0::${slice}/crio-${ID}.scope`, 'CRI-O, systemd'],
  [`0::${slice}/docker-${ID}.scope/init.scope`, 'a group below that of the container'],
  [`0::/kubepods/burstable/pod${UID}/${ID}`, 'cgroupfs'],
  [`12:pids:/user.slice\n11:memory:/kubepods/besteffort/pod${UID}/${ID}\n1:name=systemd:/x`, 'version 1'],
  [`0::/kubelet.slice/kubelet${slice.replace('/kubepods.slice/', '-')}/cri-containerd-${ID}.scope`, 'kind'],
] as const)('the pod and container of %s', ([text]) => {
  expect(cgroupOf(text)).toEqual({ uid: UID, container: ID });
});

test('a static pod has a uid without hyphens; what is in no container has none', () => {
  expect(cgroupOf(`0::/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice/cri-containerd-${ID}.scope`)).toEqual({
    uid: '0123456789abcdef0123456789abcdef',
    container: ID,
  });
  expect(cgroupOf(`0::${slice}`)).toEqual({ uid: UID, container: null });
  expect(cgroupOf('0::/system.slice/docker.service\n')).toEqual({ uid: null, container: null });
});

type Fake = {
  readonly netns: string;
  readonly cgroup?: string;
  readonly comm?: string;
  readonly files?: Readonly<Record<string, string>>;
  readonly fds?: Readonly<Record<string, string>>;
};

const HEAD = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const socket = (local: string, state: string, inode: number, rx = 0, remote = '00000000:0000') =>
  `   0: ${local} ${remote} ${state} 00000000:${rx.toString(16).padStart(8, '0')} 00:00000000 00000000     0        0 ${inode} 1 0 100 0 0 10 0\n`;

const NET = {
  'net/tcp': `${HEAD}${socket('00000000:1F90', '0A', 4711, 3)}${socket('0100007F:2382', '0A', 4712)}${socket('0201A8C0:1F90', '01', 4713, 0, '0301A8C0:C001')}`,
  'net/tcp6': `${HEAD}${socket('00000000000000000000000000000000:0050', '0A', 4714, 0, '00000000000000000000000000000000:0000')}`,
  'net/udp': `${HEAD}${socket('00000000:0035', '07', 4715)}${socket('0201A8C0:D431', '01', 4716, 0, '08080808:0035')}`,
  'net/netstat': 'TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\nIpExt: InNoRoutes\nIpExt: 0\n',
  'net/fib_trie': `Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\nLocal:\n     |-- 127.0.0.1\n        /32 host LOCAL\n     |-- 192.168.1.2\n        /32 host LOCAL\n     |-- 192.168.1.255\n        /32 link BROADCAST\n`,
  'net/if_inet6': `00000000000000000000000000000001 01 80 10 80       lo\nfe80000000000000005056fffe000001 02 40 20 80     eth0\nfd000000000000000000000000000042 02 40 00 80     eth0\n`,
  'net/route': `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\neth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n`,
  'net/arp': `IP address       HW type     Flags       HW address            Mask     Device\n192.168.1.1      0x1         0x2         0a:58:c0:a8:01:01     *        eth0\n192.168.1.9      0x1         0x0         00:00:00:00:00:00     *        eth0\n`,
  'net/dev': `Inter-|   Receive  |  Transmit\n face |bytes|bytes\n    lo: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n  eth0: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n`,
  'root/sys/class/net/eth0/flags': '0x1003\n',
  'root/sys/class/net/eth0/ifindex': '2\n',
  'root/sys/class/net/eth0/iflink': '12\n',
  'root/sys/class/net/eth0/address': '0A:58:C0:A8:01:02\n',
  'root/sys/class/net/eth0/mtu': '1450\n',
  'root/etc/resolv.conf': '# kubelet\nsearch default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n',
};

/** A /proc with these processes, beside process 1 in the node's own namespace. */
function createProc(processes: Readonly<Record<number, Fake>>): string {
  const proc = mkdtempSync(join(tmpdir(), 'netcheck-proc-'));
  folders.push(proc);
  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(proc, path)), { recursive: true });
    writeFileSync(join(proc, path), text);
  };
  write('uptime', '5000.00 9000.00\n');
  for (const [pid, { netns, cgroup = '', comm = 'app', files = NET, fds = {} }] of Object.entries<Fake>({
    1: { netns: 'net:[1]' },
    ...processes,
  })) {
    write(`${pid}/cgroup`, `${cgroup}\n`);
    write(`${pid}/stat`, `${pid} (${comm}) S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 450000 0 0\n`);
    for (const [name, text] of Object.entries(files)) write(`${pid}/${name}`, text);
    mkdirSync(join(proc, pid, 'ns'), { recursive: true });
    mkdirSync(join(proc, pid, 'fd'), { recursive: true });
    symlinkSync(netns, join(proc, pid, 'ns/net'));
    symlinkSync(`/usr/bin/${comm}d`, join(proc, pid, 'exe'));
    for (const [fd, target] of Object.entries(fds)) symlinkSync(target, join(proc, pid, 'fd', fd));
  }
  return proc;
}

const POD = {
  10: { netns: 'net:[2]', cgroup: `0::${slice}/cri-containerd-${SANDBOX}.scope`, comm: 'pause' },
  11: {
    netns: 'net:[2]',
    cgroup: `0::${slice}/cri-containerd-${ID}.scope`,
    comm: 'ngi) nx',
    fds: { 3: '/dev/null', 6: 'socket:[4711]', 7: 'socket:[4715]' },
  },
} as const;

const limits = { deadlineMs: 5000, now: () => 0 };
const nobody = async (): Promise<string | null> => null;
const process = (pid: number, comm: string, container: string) => ({
  pid,
  start: 450_000,
  ageS: 500,
  comm,
  exe: `${comm}d`,
  uid: UID,
  container,
});
const web = process(11, 'ngi) nx', ID);

test('everything of a namespace, through its sandbox, and never that of the node itself', async () => {
  const asked: unknown[] = [];
  const state = await readPodState(createProc(POD), limits, async (...call) => {
    asked.push(call);
    return call[1][0] === 'ss' ? 'LISTEN 3 2 *:8080 *:*\n' : '4\n';
  });
  expect(state).toEqual({
    namespaces: [
      {
        netns: 'net:[2]',
        pid: 10,
        groups: [
          { processes: 1, oldest: process(10, 'pause', SANDBOX) },
          { processes: 1, oldest: web },
        ],
        listeners: [
          { proto: 'tcp', ip: '0.0.0.0', port: 8080, queued: 3, holder: web },
          { proto: 'tcp', ip: '127.0.0.1', port: 9090, queued: 0, holder: null },
          { proto: 'tcp', ip: '::', port: 80, queued: 0, holder: null },
          { proto: 'udp', ip: '0.0.0.0', port: 53, queued: 0, holder: web },
        ],
        listening: { overflows: 7, drops: 9 },
        addresses: ['192.168.1.2', 'fd00::42'],
        routes: [
          { dst: '0.0.0.0/0', via: '192.168.1.1', dev: 'eth0', rejects: false },
          { dst: '192.168.1.0/24', via: null, dev: 'eth0', rejects: false },
        ],
        neighbours: [
          { ip: '192.168.1.1', dev: 'eth0', mac: '0a:58:c0:a8:01:01' },
          { ip: '192.168.1.9', dev: 'eth0', mac: null },
        ],
        devices: [{ name: 'eth0', up: true, index: 2, iflink: 12, mac: '0a:58:c0:a8:01:02', mtu: 1450 }],
        resolv: { nameservers: ['10.96.0.10'], searches: ['default.svc.cluster.local'], options: ['ndots:5'] },
        unread: [],
      },
    ],
    backlogs: { 'net:[2]': { sockets: 'LISTEN 3 2 *:8080 *:*\n', somaxconn: 4 } },
    cut: [],
  });
  expect(asked).toEqual([
    [10, ['ss', '-H', '-lnt']],
    [10, ['cat', '/proc/sys/net/core/somaxconn']],
  ]);
});

test('the counters of every namespace', async () => {
  expect(await readPodCounters(createProc(POD), limits)).toEqual({
    counters: { 'net:[2]': { overflows: 7, drops: 9 } },
    cut: [],
  });
});

test('a link in the file system of a pod is not followed, and a missing file there is no gap', async () => {
  const { 'root/etc/resolv.conf': _, ...files } = NET;
  const proc = createProc({ 11: { netns: 'net:[2]', files } });
  mkdirSync(join(proc, '11/root/etc'), { recursive: true });
  symlinkSync(join(proc, 'uptime'), join(proc, '11/root/etc/resolv.conf'));
  const { namespaces } = await readPodState(proc, limits, nobody);
  expect(namespaces.map(({ resolv, unread }) => ({ resolv, unread }))).toEqual([{ resolv: null, unread: [] }]);
});

test('what is missing of the kernel is said', async () => {
  const { 'net/arp': _, ...files } = NET;
  const { namespaces } = await readPodState(createProc({ 11: { netns: 'net:[2]', files } }), limits, nobody);
  expect(namespaces.map(({ unread }) => unread)).toEqual([['arp']]);
});

test('when the time is up, the rest is said to be missing', async () => {
  const proc = createProc({ 11: { netns: 'net:[2]' }, 12: { netns: 'net:[3]' } });
  const late = (): { deadlineMs: number; now: () => number } => {
    let time = 0;
    return { deadlineMs: 15, now: () => (time += 10) };
  };
  const cut = ['the time was up before all namespaces had been read'];
  expect((await readPodState(proc, late(), nobody)).cut).toEqual(cut);
  expect((await readPodCounters(proc, late())).cut).toEqual(cut);
});
