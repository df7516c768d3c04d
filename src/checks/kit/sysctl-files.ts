import { basename } from 'node:path';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/**
 * One assignment in one file. `key` is in dotted form, perhaps a pattern; `line` counts from 1. Without a value (`-key`)
 * it only keeps patterns from the key.
 */
export type SysctlLine = { readonly file: string; readonly line: number; readonly key: string; readonly value: string | null };
export type Assignment = SysctlLine & { readonly value: string };

/** What `sysctl --system` loads last, and systemd-sysctl, which loads the rest when the node starts, not at all. */
const LAST = '/etc/sysctl.conf';

/**
 * The lines that `sysctl --system` loads, in its order, from the evidence of `SYSCTL_FILES`. A file name that has been met
 * in an earlier directory masks the same name in later ones; files are loaded in the order of their names,
 * /etc/sysctl.conf last. Source: sysctl(8), procps-ng 4, "system file precedence"; procps-ng 3 looks into /run before /etc.
 */
export function parseSysctlFiles(evidence: Evidence): Parsed<readonly SysctlLine[]> {
  return parseComplete(evidence, (stdout) => loadOrder(splitFiles(stdout)).flatMap(readAssignments));
}

/**
 * What a setting that goes by these keys is set to in the end: of each key by the line that names it last, without one by
 * the last pattern that matches it; of several keys by the line that comes last. Source: sysctl.d(5), "explicit settings
 * take precedence over patterns"; so do procps-ng 4 and systemd-sysctl.
 */
export function assignmentOf(lines: readonly SysctlLine[], keys: readonly string[]): Assignment | null {
  const found = keys.flatMap((key) => {
    const explicit = lines.findLastIndex((line) => line.key === key && line.value !== null);
    if (explicit !== -1) return [explicit];
    if (lines.some((line) => line.key === key)) return [];
    return [lines.findLastIndex((line) => line.value !== null && isPatternFor(line.key, key))];
  });
  const last = lines[Math.max(-1, ...found)];
  return last?.value == null ? null : { ...last, value: last.value };
}

/** The same lines as systemd-sysctl loads them when the node starts. Source: sysctl.d(5). */
export function atBoot(lines: readonly SysctlLine[]): readonly SysctlLine[] {
  return lines.filter(({ file }) => file !== LAST);
}

function isPatternFor(pattern: string, key: string): boolean {
  if (!/[*?]/.test(pattern)) return false;
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '[^.]*')
    .replaceAll('?', '[^.]');
  return new RegExp(`^${source}$`).test(key);
}

type File = { readonly path: string; readonly lines: readonly string[] };

function splitFiles(stdout: string): readonly File[] {
  const files: { path: string; lines: string[] }[] = [];
  for (const line of stdout.split('\n')) {
    const header = /^==> (.+) <==$/.exec(line)?.[1];
    if (header !== undefined) files.push({ path: header, lines: [] });
    else if (files.length > 0) files.at(-1)?.lines.push(line);
    else if (line !== '') throw new TypeError(`a line before the first file: ${line}`);
  }
  return files;
}

function loadOrder(files: readonly File[]): readonly File[] {
  const isLast = ({ path }: File): boolean => path === LAST;
  const byName = new Map<string, File>();
  for (const file of files.filter((candidate) => !isLast(candidate))) {
    const name = basename(file.path);
    if (!byName.has(name)) byName.set(name, file);
  }
  const dropIns = [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
  return [...dropIns, ...files.filter(isLast)];
}

function readAssignments({ path: file, lines }: File): readonly SysctlLine[] {
  return lines.flatMap((text, index): SysctlLine[] => {
    const line = index + 1;
    const [, name, value] = /^\s*-?([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
    if (name !== undefined && value !== undefined) return [{ file, line, key: dotted(name), value }];
    const excluded = /^\s*-([^#;=\s]+)\s*$/.exec(text)?.[1];
    return excluded === undefined ? [] : [{ file, line, key: dotted(excluded), value: null }];
  });
}

/** A key is written with dots or with slashes; where the first separator is a slash, dots belong to names. */
function dotted(key: string): string {
  const slash = key.indexOf('/');
  const dot = key.indexOf('.');
  return slash !== -1 && (dot === -1 || slash < dot) ? key.replaceAll('.', '\0').replaceAll('/', '.').replaceAll('\0', '/') : key;
}
