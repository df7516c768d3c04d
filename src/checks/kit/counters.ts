import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/**
 * Packets that each device has received and sent since it was made, and those that it counts as bad (`errors`) or has
 * thrown away (`dropped`), both ways; by the name of the device.
 */
export type Counters = ReadonlyMap<
  string,
  { readonly received: number; readonly sent: number; readonly errors: number; readonly dropped: number }
>;

/** Parses the evidence of `DEVICE_COUNTERS`. Source: proc_pid_net(5), /proc/net/dev. */
export function parseCounters(evidence: Evidence): Parsed<Counters> {
  return parseComplete(evidence, readCounters);
}

/** Of each device eight numbers of what it received and eight of what it sent: bytes, packets, errors, drops, and others. */
function readCounters(stdout: string): Counters {
  const [title = '', columns = '', ...lines] = stdout.trimEnd().split('\n');
  if (!title.startsWith('Inter-|') || !columns.includes('|bytes')) throw new Error('not a table of devices');
  const counters = lines.map((line) => {
    const [, name = '', numbers = ''] = /^\s*(\S+):\s*((?:\d+\s+){15}\d+)\s*$/.exec(line) ?? [];
    if (name === '') throw new Error(`not the counters of a device: ${line}`);
    const at = (index: number): number => Number(numbers.trim().split(/\s+/)[index]);
    return [name, { received: at(1), sent: at(9), errors: at(2) + at(10), dropped: at(3) + at(11) }] as const;
  });
  // The loopback device is always there.
  if (counters.length === 0) throw new Error('no device');
  return new Map(counters);
}
