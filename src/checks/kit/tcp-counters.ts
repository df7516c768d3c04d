import type { Evidence } from '../../model/evidence.ts';
import { allParsed, ok, type Parsed, parseComplete } from './check.ts';

/** By how much the counters of `TcpExt` grew during the run, by name; a counter that the kernel does not have is not there. */
export type TcpGrowth = ReadonlyMap<string, number>;

/** Parses the evidence of `TCP_COUNTERS`. Source: net/ipv4/proc.c, netstat_seq_show. */
export function parseTcpGrowth({ before, after }: { readonly before: Evidence; readonly after: Evidence }): Parsed<TcpGrowth> {
  const parsed = allParsed<{ before: TcpGrowth; after: TcpGrowth }>({
    before: parseComplete(before, readTcpExt),
    after: parseComplete(after, readTcpExt),
  });
  if (parsed.outcome !== 'ok') return parsed;
  const { facts } = parsed;
  return ok(new Map([...facts.after].map(([name, value]) => [name, Math.max(0, value - (facts.before.get(name) ?? 0))])));
}

/** A line of names and a line of numbers, both with the title `TcpExt:`. */
function readTcpExt(stdout: string): TcpGrowth {
  const [names, values] = stdout
    .split('\n')
    .filter((line) => line.startsWith('TcpExt: '))
    .map((line) => line.trim().split(' ').slice(1));
  if (
    names === undefined ||
    values === undefined ||
    names.length !== values.length ||
    values.some((value) => !/^-?\d+$/.test(value))
  )
    throw new Error('no counters of TcpExt');
  return new Map(names.map((name, index) => [name, Number(values[index])]));
}
