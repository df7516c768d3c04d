import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/** Packets that each device has received and sent since it was made, by the name of the device. */
export type Counters = ReadonlyMap<string, { readonly received: number; readonly sent: number }>;

/** Parses the evidence of `DEVICE_COUNTERS`. Source: proc_pid_net(5), /proc/net/dev. */
export function parseCounters(evidence: Evidence): Parsed<Counters> {
  return parseComplete(evidence, readCounters);
}

/** Of each device eight numbers of what it received and eight of what it sent; packets are the second of each. */
function readCounters(stdout: string): Counters {
  const [title = '', columns = '', ...lines] = stdout.trimEnd().split('\n');
  if (!title.startsWith('Inter-|') || !columns.includes('|bytes')) throw new Error('not a table of devices');
  const counters = lines.map((line) => {
    const [, name = '', numbers = ''] = /^\s*(\S+):\s*((?:\d+\s+){15}\d+)\s*$/.exec(line) ?? [];
    if (name === '') throw new Error(`not the counters of a device: ${line}`);
    const values = numbers.trim().split(/\s+/).map(Number);
    return [name, { received: values[1] ?? 0, sent: values[9] ?? 0 }] as const;
  });
  // The loopback device is always there.
  if (counters.length === 0) throw new Error('no device');
  return new Map(counters);
}
