import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete, unsupported } from './check.ts';

/** What a driver counts, by the names that it has for it. */
export type DriverCounters = ReadonlyMap<string, number>;

/** Parses the evidence of `UPLINK_COUNTERS`. A driver need not count anything. Source: ethtool(8), net/ethtool/ioctl.c. */
export function parseDriverCounters(evidence: Evidence): Parsed<DriverCounters> {
  const { exitCode, stdout, stderr } = evidence;
  if (exitCode !== null && exitCode !== 0 && stdout === '' && /no stats available|Operation not supported/.test(stderr))
    return unsupported("the driver of the node's uplink counts nothing");
  return parseComplete(evidence, (text) => {
    const [title, ...lines] = text.trimEnd().split('\n');
    if (title !== 'NIC statistics:') throw new Error('no statistics of a device');
    const entries = lines.map((line) => /^\s*(\S.*?): (-?\d+)$/.exec(line));
    const bad = entries.indexOf(null);
    if (bad !== -1) throw new Error(`not a counter: ${lines[bad]}`);
    return new Map(entries.map((entry) => [entry?.[1] ?? '', Number(entry?.[2])]));
  });
}
