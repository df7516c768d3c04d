import { expect, test } from 'vitest';
import type { Evidence } from '../../model/evidence.ts';
import { assignmentOf, atBoot, parseSysctlFiles } from './sysctl-files.ts';

function evidence(stdout: string, more: Partial<Evidence> = {}): Evidence {
  return { argv: ['cat'], exitCode: 0, stdout, stderr: '', truncated: false, startedMs: 0, durationMs: 1, ...more };
}

function order(stdout: string): readonly string[] {
  const parsed = parseSysctlFiles(evidence(stdout));
  return parsed.outcome === 'ok'
    ? parsed.facts.map(({ file, line, key, value }) => `${file}:${line} ${key}=${value}`)
    : [parsed.outcome];
}

test('loads by file name across the directories, /etc/sysctl.conf last, as sysctl --system does', () => {
  // The order that procps-ng 4.0.2 printed for these files, in a mount namespace.
  expect(
    order(`==> /etc/sysctl.d/98-y.conf <==
kernel.x3=1
==> /etc/sysctl.d/50-a.conf <==
kernel.x1=etc
==> /run/sysctl.d/50-a.conf <==
kernel.x1=run
==> /run/sysctl.d/99-z.conf <==
kernel.x2=1
==> /usr/lib/sysctl.d/50-pid-max.conf <==
kernel.pid_max = 4194304
==> /etc/sysctl.conf <==
net.ipv4.ip_forward = 0
`),
  ).toEqual([
    '/etc/sysctl.d/50-a.conf:1 kernel.x1=etc',
    '/usr/lib/sysctl.d/50-pid-max.conf:1 kernel.pid_max=4194304',
    '/etc/sysctl.d/98-y.conf:1 kernel.x3=1',
    '/run/sysctl.d/99-z.conf:1 kernel.x2=1',
    '/etc/sysctl.conf:1 net.ipv4.ip_forward=0',
  ]);
});

test('reads comments, blanks, the ignore mark and both spellings of a key', () => {
  expect(
    order(`==> /etc/sysctl.d/10-x.conf <==
# net.ipv4.ip_forward = 1
; another comment

-net.ipv4.ip_forward = 0
net/ipv4/conf/eth0.100/forwarding=1
  net.ipv4.conf.all.rp_filter  =  2
`),
  ).toEqual([
    '/etc/sysctl.d/10-x.conf:4 net.ipv4.ip_forward=0',
    '/etc/sysctl.d/10-x.conf:5 net.ipv4.conf.eth0/100.forwarding=1',
    '/etc/sysctl.d/10-x.conf:6 net.ipv4.conf.all.rp_filter=2',
  ]);
});

test('a drop-in that is empty masks the file of the same name', () => {
  expect(order('==> /etc/sysctl.d/50-x.conf <==\n==> /usr/lib/sysctl.d/50-x.conf <==\na=1\n')).toEqual([]);
});

test('output that was cut, or that did not come, is unknown', () => {
  expect(parseSysctlFiles(evidence('', { truncated: true, exitCode: null })).outcome).toBe('unknown');
  expect(parseSysctlFiles(evidence('', { fault: 'denied', exitCode: null })).outcome).toBe('unknown');
});

/** What a key is set to in the end, and by what line; at the start of a node with systemd where that differs. */
function decided(files: string, ...keys: readonly string[]) {
  const parsed = parseSysctlFiles(evidence(files));
  const lines = parsed.outcome === 'ok' ? parsed.facts : [];
  const text = (line: ReturnType<typeof assignmentOf>) => (line === null ? null : `${line.file}:${line.line} = ${line.value}`);
  const [last, boot] = [assignmentOf(lines, keys), assignmentOf(atBoot(lines), keys)].map(text);
  return last === boot ? last : { last, boot };
}

// What sysctl of procps-ng 4.0.2 and systemd-sysctl 252 did with these files, in namespaces of their own.
test('a line for the key wins over a pattern, whichever comes later; an exclusion keeps patterns from it', () => {
  const lo = 'net.ipv4.conf.lo.forwarding';
  const files = `==> /etc/sysctl.d/10-a.conf <==
${lo}=1
==> /etc/sysctl.d/20-b.conf <==
net.ipv4.conf.*.forwarding=0
-net.ipv4.conf.eth0.forwarding
==> /etc/sysctl.conf <==
net.ipv4.conf.all.forwarding = 1
`;
  expect({
    named: decided(files, lo),
    pattern: decided(files, 'net.ipv4.conf.flannel/1.forwarding'),
    excluded: decided(files, 'net.ipv4.conf.eth0.forwarding'),
    other: decided(files, 'net.ipv4.conf.lo.rp_filter'),
    deeper: decided(files, 'net.ipv4.conf.a.b.forwarding'),
    last: decided(files, 'net.ipv4.conf.all.forwarding'),
  }).toEqual({
    named: '/etc/sysctl.d/10-a.conf:1 = 1',
    pattern: '/etc/sysctl.d/20-b.conf:1 = 0',
    excluded: null,
    other: null,
    deeper: null,
    last: { last: '/etc/sysctl.conf:1 = 1', boot: '/etc/sysctl.d/20-b.conf:1 = 0' },
  });
});

test('of two keys for one setting the line that comes last decides', () => {
  const keys = ['net.ipv4.ip_forward', 'net.ipv4.conf.all.forwarding'];
  const both = (first: string, second: string) =>
    decided(`==> /etc/sysctl.d/10-a.conf <==\n${first}\n==> /etc/sysctl.d/20-b.conf <==\n${second}\n`, ...keys);
  expect([
    both('net.ipv4.ip_forward=1', 'net.ipv4.conf.*.forwarding=0'),
    both('net.ipv4.conf.*.forwarding=0', 'net.ipv4.ip_forward=1'),
    both('net.ipv4.conf.all.forwarding=0', 'net.ipv4.ip_forward=1'),
  ]).toEqual(['/etc/sysctl.d/20-b.conf:1 = 0', '/etc/sysctl.d/20-b.conf:1 = 1', '/etc/sysctl.d/20-b.conf:1 = 1']);
});
