import type { RemedyPlan } from '../model/remedy.ts';
import { oneLine } from '../model/text.ts';
import { shellWords } from './slack/remedy.ts';
import { fold } from './terminal.ts';

/** What a remedy would do, for a terminal of that many columns: the same that its card in Slack shows. Pure. */
export function formatPlan(plan: RemedyPlan, columns: number): string {
  const { target, commands, onFailure = [], diff, finding, verification } = plan;
  const where = target.node === null ? 'in the cluster' : `on ${oneLine(target.node)}`;
  const block = (title: string, lines: readonly string[]): readonly string[] =>
    lines.length === 0 ? [] : [`  ${title}`, ...lines.map((line) => `    ${line}`)];
  const risk = plan.irreversible === undefined ? plan.risk : `${plan.risk} ${plan.irreversible}`;
  const probes = `${verification.length} failing probe${verification.length === 1 ? '' : 's'}`;
  return [
    `${oneLine(plan.title)}  (${plan.remedy}, ${plan.riskClass} risk)`,
    ...fold(`Why: ${oneLine(finding.summary)} (${finding.code})`, '  ', columns),
    ...finding.evidence.slice(0, 1).map(({ where: at, source, text }) => `    ${oneLine(`${at}: ${source}: ${text}`)}`),
    ...block(`Runs exactly this, ${where}:`, commands.map(shellWords)),
    ...block('Changes this:', diff === undefined ? [] : diff.split('\n')),
    ...block('If one of these fails, this:', onFailure.map(shellWords)),
    ...fold(`Risk: ${oneLine(risk)}`, '  ', columns),
    ...fold(`Undo: ${plan.undo === null ? 'not possible.' : oneLine(plan.undo)}`, '  ', columns),
    `  Verified by ${verification.length === 0 ? 'reading the state again.' : `running ${probes} again.`}`,
  ].join('\n');
}
