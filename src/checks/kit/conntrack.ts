import type { Evidence } from '../../model/evidence.ts';
import type { RemedyOffer } from '../../model/finding.ts';
import { incomplete, type Parsed, parseComplete, unsupported } from './check.ts';

/** What connection tracking has done in one network namespace, all processors together; `entries` is what it holds now. */
export type ConntrackCounters = {
  readonly entries: number;
  readonly insertFailed: number;
  readonly drop: number;
  readonly earlyDrop: number;
};

const COLUMNS = { entries: 'entries', insertFailed: 'insert_failed', drop: 'drop', earlyDrop: 'early_drop' } as const;

/**
 * Parses the evidence of `CONNTRACK_COUNTERS`: names of columns, then a line of hexadecimal numbers for each processor.
 * Kernels differ in the columns that they have, not in the names. Source: net/netfilter/nf_conntrack_standalone.c,
 * ct_cpu_seq_show.
 */
export function parseConntrackCounters(evidence: Evidence): Parsed<ConntrackCounters> {
  return isMissing(evidence)
    ? unsupported('the kernel tracks no connections here, or shows no counters of it')
    : parseComplete(evidence, readCounters);
}

function readCounters(stdout: string): ConntrackCounters {
  const [title = '', ...lines] = stdout.trimEnd().split('\n');
  const names = title.trim().split(/\s+/);
  const rows = lines.map((line) => line.trim().split(/\s+/));
  const bad = rows.find((row) => row.length !== names.length || row.some((word) => !/^[0-9a-f]{8,16}$/.test(word)));
  if (rows.length === 0 || bad !== undefined) throw new Error(`not the counters of a processor: ${bad?.join(' ') ?? ''}`);
  const column = (name: string): readonly number[] => {
    const index = names.indexOf(name);
    if (index === -1) throw new Error(`no column ${name}`);
    return rows.map((row) => Number.parseInt(row[index] ?? '', 16));
  };
  const sum = (name: string): number => column(name).reduce((total, value) => total + value, 0);
  return {
    // The same number in every line.
    entries: column(COLUMNS.entries)[0] ?? 0,
    insertFailed: sum(COLUMNS.insertFailed),
    drop: sum(COLUMNS.drop),
    earlyDrop: sum(COLUMNS.earlyDrop),
  };
}

/** How many entries the table holds, and how many it may. Parses the evidence of `CONNTRACK_FREE`. */
export function parseConntrackUse(evidence: Evidence): Parsed<{ readonly count: number; readonly max: number }> {
  if (incomplete(evidence) === null && evidence.stdout === '') return unsupported('the kernel tracks no connections here');
  return parseComplete(evidence, (stdout) => {
    const [, count, max] = /^==> \S+nf_conntrack_count <==\n(\d+)\n==> \S+nf_conntrack_max <==\n(\d+)\n$/.exec(stdout) ?? [];
    if (count === undefined || max === undefined) throw new Error('not a count and a maximum');
    return { count: Number(count), max: Number(max) };
  });
}

/** Parses the evidence of `MEMORY`: the node's memory in KiB. Source: proc_meminfo(5). */
export function parseMemory(evidence: Evidence): Parsed<number> {
  return parseComplete(evidence, (stdout) => {
    const total = /^MemTotal: +(\d+) kB$/m.exec(stdout)?.[1];
    if (total === undefined) throw new Error('no MemTotal');
    return Number(total);
  });
}

/** Whether a file that was to be read is not there. */
export function isMissing({ exitCode, stdout, stderr }: Pick<Evidence, 'exitCode' | 'stdout' | 'stderr'>): boolean {
  return exitCode === 1 && stdout === '' && stderr.endsWith('No such file or directory');
}

/** How many KiB of the node's memory there are for each entry that the table may have. Source: GKE troubleshooting, intermittent connection failures. */
const KIB_PER_ENTRY = 32;

/** The offer to let the table of a node grow with its memory; none where it is as large already. */
export function conntrackRemedy(
  node: string,
  { max, memory }: { readonly max: number; readonly memory: number },
): RemedyOffer | undefined {
  const wanted = Math.floor(memory / KIB_PER_ENTRY);
  return wanted > max ? { id: 'raise-conntrack-max', node, params: { max: String(wanted) } } : undefined;
}

/**
 * Connections of one protocol that were sent to one address and port, went to one, and share what their source became:
 * the address and the hundred that the port is in (43 for 4300 to 4399); null where it stayed.
 */
export type Translated = {
  readonly proto: string;
  readonly to: string;
  readonly port: number;
  readonly target: string;
  readonly targetPort: number;
  readonly source: { readonly ip: string; readonly hundred: number } | null;
  readonly count: number;
};

/** `isWhole` is false where there are more different ones than are listed; those that are have the most connections. */
export type Translations = { readonly groups: readonly Translated[]; readonly isWhole: boolean };

/** Parses the evidence of `TRANSLATED_CONNECTIONS`; what has no ports is left out. */
export function parseTranslations(evidence: Evidence): Parsed<Translations> {
  if (isMissing(evidence)) return unsupported('the kernel tracks no connections here');
  return parseComplete(evidence, (stdout) => {
    const lines = stdout.split('\n').filter((line) => line !== '' && !/^\d+ \?$/.test(line));
    const isRest = (line: string): boolean => /^\d+ …$/.test(line);
    return { groups: lines.filter((line) => !isRest(line)).map(readTranslated), isWhole: !lines.some(isRest) };
  });
}

function readTranslated(line: string): Translated {
  const [, count, proto = '', to = '', port, target = '', kept, ip, changed, hundred] =
    /^(\d+) (\w+) (\S+) (\d+) (\S+) (?:(\d+) - - -|- (\S+) (\d+) (\d*))$/.exec(line) ?? [];
  if (count === undefined) throw new Error(`not a group of connections: ${line}`);
  return {
    proto,
    to,
    port: Number(port),
    target,
    targetPort: Number(kept ?? changed),
    source: ip === undefined ? null : { ip, hundred: Number(hundred) },
    count: Number(count),
  };
}
