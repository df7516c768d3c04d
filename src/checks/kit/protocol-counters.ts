import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/** Counters by protocol and name, as `Udp InCsumErrors`. */
export type ProtocolCounters = ReadonlyMap<string, number>;

/** Parses the evidence of `PROTOCOL_COUNTERS`. Source: net/ipv4/proc.c, snmp_seq_show. */
export function parseProtocolCounters(evidence: Evidence): Parsed<ProtocolCounters> {
  return parseComplete(evidence, readCounters);
}

/** Of each protocol a line of names and one of values, both behind its name. */
function readCounters(stdout: string): ProtocolCounters {
  const lines = stdout.trimEnd().split('\n');
  const counters = new Map<string, number>();
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const [protocol = '', ...names] = (lines[index] ?? '').split(' ');
    const [same = '', ...values] = (lines[index + 1] ?? '').split(' ');
    if (protocol !== same || !protocol.endsWith(':') || names.length !== values.length)
      throw new Error('not a table of counters');
    names.forEach((name, at) => counters.set(`${protocol.slice(0, -1)} ${name}`, Number(values[at])));
  }
  if (!counters.has('Udp InDatagrams')) throw new Error('no counters of UDP');
  return counters;
}
