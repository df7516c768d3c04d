import { formatTerminal } from '../formatters/terminal.ts';
import type { Verdict } from '../model/verdict.ts';

/** How a verdict can be printed. */
export const VERDICT_FORMATS = ['text', 'json', 'slack'] as const;
type VerdictFormat = (typeof VERDICT_FORMATS)[number];

/** Prints a verdict to standard output. */
export async function printVerdict(verdict: Verdict, format: VerdictFormat): Promise<void> {
  process.stdout.write(await render(verdict, format));
}

async function render(verdict: Verdict, format: VerdictFormat): Promise<string> {
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
