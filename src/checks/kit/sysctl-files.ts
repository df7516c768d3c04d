import { basename } from 'node:path';
import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/** One assignment in one file. `key` is in dotted form; `line` counts from 1. */
export type SysctlLine = { readonly file: string; readonly line: number; readonly key: string; readonly value: string };

/**
 * The assignments that `sysctl --system` makes, in the order in which it makes them, from the evidence of
 * `SYSCTL_FILES`. A file name that has been met in an earlier directory masks the same name in later ones; files are
 * loaded in the order of their names, /etc/sysctl.conf last. Source: sysctl(8), procps-ng 4, "system file precedence".
 */
export function parseSysctlFiles(evidence: Evidence): Parsed<readonly SysctlLine[]> {
  return parseComplete(evidence, (stdout) => loadOrder(splitFiles(stdout)).flatMap(readAssignments));
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
  const isLast = ({ path }: File): boolean => path === '/etc/sysctl.conf';
  const byName = new Map<string, File>();
  for (const file of files.filter((candidate) => !isLast(candidate))) {
    const name = basename(file.path);
    if (!byName.has(name)) byName.set(name, file);
  }
  const dropIns = [...byName].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, file]) => file);
  return [...dropIns, ...files.filter(isLast)];
}

function readAssignments({ path, lines }: File): readonly SysctlLine[] {
  return lines.flatMap((text, index) => {
    const assignment = /^\s*-?([^#;=\s][^=]*?)\s*=\s*(.*?)\s*$/.exec(text);
    const [, name, value] = assignment ?? [];
    return name === undefined || value === undefined ? [] : [{ file: path, line: index + 1, key: dotted(name), value }];
  });
}

/** A key is written with dots or with slashes; where the first separator is a slash, dots belong to names. */
function dotted(key: string): string {
  const slash = key.indexOf('/');
  const dot = key.indexOf('.');
  return slash !== -1 && (dot === -1 || slash < dot) ? key.replaceAll('.', '\0').replaceAll('/', '.').replaceAll('\0', '/') : key;
}
