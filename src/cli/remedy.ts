import { judge } from '../diagnosis/judge.ts';
import { formatPlan } from '../formatters/plan.ts';
import { nearNames } from '../model/near-names.ts';
import type { RemedyPlan } from '../model/remedy.ts';
import type { Verdict } from '../model/verdict.ts';
import { propose } from '../remedies/propose.ts';
import { outputFormat, textOption } from './options.ts';
import { readBundle } from './replay.ts';
import { diagnoseOnce } from './run.ts';
import { UsageError } from './usage-error.ts';

/**
 * `netcheck remedy plan [CODE]`: what could be done about all findings, or those with that code, as a card in Slack shows
 * it. The cluster is only read. Returns the exit status: 0 when there is a plan, 1 when there is none.
 */
export async function remedy(task: string, code: string | undefined, options: Record<string, unknown>): Promise<number> {
  if (task !== 'plan') throw new UsageError(`remedy ${task}: it is remedy plan.`);
  const format = outputFormat(options['output'], ['text', 'json']);
  const file = textOption(options, 'from');
  const bundle = file === undefined ? null : await readBundle(file);
  const found =
    bundle === null ? await diagnoseOnce({ kind: 'cluster' }, options, format === 'text') : { bundle, verdict: judge(bundle) };
  const plans = propose(found.verdict, found.bundle).filter((plan) => code === undefined || plan.finding.code === code);
  process.stdout.write(format === 'json' ? `${JSON.stringify(plans, null, 2)}\n` : textOf(plans, found.verdict, code));
  return plans.length > 0 ? 0 : 1;
}

function textOf(plans: readonly RemedyPlan[], verdict: Verdict, code: string | undefined): string {
  const columns = Math.min(process.stdout.columns || 100, 120);
  if (plans.length > 0) return plans.map((plan) => `${formatPlan(plan, columns)}\n`).join('\n');
  const findings = [...verdict.causes, ...verdict.risks];
  const codes = [...new Set(findings.map((finding) => finding.code))];
  if (code !== undefined && !codes.includes(code)) {
    const [near] = nearNames(code, codes, 1);
    const known = codes.length === 0 ? 'nothing' : codes.join(', ');
    return `${code} was not found: what was found is ${known}.${near === undefined ? '' : ` Did you mean ${near}?`}\n`;
  }
  const advice = findings.filter((finding) => code === undefined || finding.code === code);
  return [
    `${verdict.headline} No remedy of netcheck's is known for it.`,
    ...advice.flatMap(({ code: of, advice: said }) => (said === undefined ? [] : [`${of}: ${said}`])),
    '',
  ].join('\n');
}
