import { readdirSync, readFileSync } from 'node:fs';

/**
 * The process id of any process of a pod, found by the pod's uid in /proc/PID/cgroup, or null. The systemd cgroup driver
 * writes the uid with underscores, cgroupfs with dashes. Needs the host's process namespace.
 * Source: kubernetes pkg/kubelet/cm/cgroup_manager_linux.go.
 */
export function findPodProcess(uid: string): number | null {
  const spellings = [`pod${uid}`, `pod${uid.replaceAll('-', '_')}`];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const cgroup = readCgroup(pid);
    if (spellings.some((spelling) => cgroup.includes(spelling))) return pid;
  }
  return null;
}

function readCgroup(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    // The process ended while the directory was being read.
    return '';
  }
}
