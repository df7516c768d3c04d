import type { AuditEntry } from '../model/wire/action.ts';

export const EXPORT_FORMATS = ['jsonl', 'csv'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

const COLUMNS = [
  'cluster',
  'seq',
  'at',
  'event',
  'action',
  'run',
  'user',
  'team',
  'detail',
  'digest',
  'previous',
  'hash',
] as const;

/** The first line of an export, if it has one. */
export function exportHead(format: ExportFormat): string {
  return format === 'csv' ? `${COLUMNS.join(',')}\r\n` : '';
}

/**
 * One line of the audit: `text` is the line as it is kept, which jsonl repeats to the letter, so that its hash can be
 * computed again; `entry` what it says. CSV is as in RFC 4180, with times in UTC and the details as JSON in one field.
 */
export function exportLine(format: ExportFormat, text: string, entry: AuditEntry): string {
  if (format === 'jsonl') return `${text}\n`;
  const { cluster, seq, at, event, action, run, actor, detail, digest, previous, hash } = entry;
  const cells: Readonly<Record<(typeof COLUMNS)[number], string>> = {
    cluster,
    seq: String(seq),
    at: new Date(at).toISOString(),
    event,
    action,
    run,
    user: actor?.user ?? '',
    team: actor?.team ?? '',
    detail: JSON.stringify(detail),
    digest,
    previous,
    hash,
  };
  return `${COLUMNS.map((column) => cell(cells[column])).join(',')}\r\n`;
}

/** A field, in quotes where it has to be. What a spreadsheet would take as a formula gets an apostrophe before it. */
function cell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * The time that `--since` says, in milliseconds, or null for what is none: `90m`, `24h`, `7d` or `2w` before now, a day
 * (`2026-11-20`, from its beginning in UTC) or a moment (`2026-11-20T09:30:00Z`).
 */
export function parseSince(text: string, now: number): number | null {
  const [, amount, unit = ''] = /^(\d{1,5})([mhdw])$/.exec(text) ?? [];
  if (amount !== undefined) return now - Number(amount) * (UNITS[unit] ?? 0);
  if (!/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)) return null;
  const at = Date.parse(text);
  const [, day] = /-(\d\d)(?:T|$)/.exec(text) ?? [];
  // Date.parse takes 30 February for 2 March.
  return Number.isNaN(at) || (text.length === 10 && new Date(at).getUTCDate() !== Number(day)) ? null : at;
}
