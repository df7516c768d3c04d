import { expect, test } from 'vitest';
import type { Evidence } from '../../model/evidence.ts';
import { parseSysctlFiles } from './sysctl-files.ts';

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
