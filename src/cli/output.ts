import { formatTerminal } from '../formatters/terminal.ts';
import { nearNames } from '../model/near-names.ts';
import type { Verdict } from '../model/verdict.ts';
import { UsageError } from './usage-error.ts';

const FORMATS = ['text', 'json', 'slack'] as const;
export type OutputFormat = (typeof FORMATS)[number];

/** Checks the value of `--output`. */
export function outputFormat(value: unknown): OutputFormat {
  const format = FORMATS.find((candidate) => candidate === value);
  if (format !== undefined) return format;
  const near = nearNames(String(value), FORMATS);
  throw new UsageError(
    `--output ${String(value)}: it is text, json or slack.${near.length > 0 ? ` Did you mean ${near[0]}?` : ''}`,
  );
}

/** Prints a verdict to standard output. */
export async function printVerdict(verdict: Verdict, format: OutputFormat): Promise<void> {
  process.stdout.write(await render(verdict, format));
}

async function render(verdict: Verdict, format: OutputFormat): Promise<string> {
  switch (format) {
    case 'json':
      return `${JSON.stringify(verdict, null, 2)}\n`;
    case 'slack': {
      const { verdictMessage } = await import('../formatters/slack/verdict.ts');
      const { id, cluster, request } = verdict.run;
      const message = verdictMessage(
        verdict,
        { ref: `${cluster}/${id}`, cluster, request, requestedBy: null },
        { mode: 'off', proposals: [] },
      );
      return `${JSON.stringify(message, null, 2)}\n`;
    }
    default:
      return formatTerminal(verdict, {
        color: process.stdout.hasColors?.() ?? false,
        columns: Math.min(process.stdout.columns || 100, 120),
      });
  }
}
