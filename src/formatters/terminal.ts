import { styleText } from 'node:util';
import { entityName } from '../model/entity.ts';
import { LAYERS } from '../model/layer.ts';
import type { Progress } from '../model/progress.ts';
import { cleanText, oneLine } from '../model/text.ts';
import { type LayerState, requestWords, type Status, type Verdict, type VerdictFinding } from '../model/verdict.ts';
import { count } from './slack/words.ts';

/** How text is laid out: with colours or without, and at how many columns sentences are folded. */
export type TerminalStyle = { readonly color: boolean; readonly columns: number };

type Format = Parameters<typeof styleText>[0];
type Paint = (format: Format, text: string) => string;

const STATUS: Readonly<Record<Status, { readonly mark: string; readonly format: Format }>> = {
  healthy: { mark: '✔ HEALTHY', format: ['green', 'bold'] },
  degraded: { mark: '▲ DEGRADED', format: ['yellow', 'bold'] },
  failed: { mark: '✘ FAILED', format: ['red', 'bold'] },
  inconclusive: { mark: '? INCONCLUSIVE', format: ['magenta', 'bold'] },
};

const LAYER_FORMAT: Readonly<Record<LayerState, Format>> = {
  ok: 'green',
  fail: ['red', 'bold'],
  unknown: 'magenta',
  'not-checked': 'gray',
};

const MAX_SYMPTOMS = 8;

/** A verdict as a person reads it in a terminal. Pure; text from nodes is stripped of control characters. */
export function formatTerminal(verdict: Verdict, { color, columns }: TerminalStyle): string {
  const paint: Paint = (format, text) => (color ? styleText(format, text, { validateStream: false }) : text);
  const { mark, format } = STATUS[verdict.status];
  const seconds = (verdict.run.durationMs / 1000).toFixed(1);
  const asked =
    verdict.run.request.kind === 'cluster'
      ? verdict.run.cluster
      : `${requestWords(verdict.run.request)} of ${verdict.run.cluster}`;
  const sections = [
    [
      `${paint(format, mark)}  ${paint('gray', `${oneLine(asked)} · ${count(verdict.checked.nodes, 'node')} · ${seconds} s`)}`,
      ...fold(oneLine(verdict.headline), '  ', columns),
    ],
    ...verdict.causes.map((cause, index) => findingSection('Cause', cause, verdict, paint, columns, index)),
    ...alternatives(verdict, columns),
    ...verdict.located.map((located) => locatedSection(located, paint, columns)),
    symptomSection(verdict, paint),
    ...(verdict.risks.length > 0 ? [risksSection(verdict.risks, paint, columns)] : []),
    layersSection(verdict, paint, columns),
    notCheckedSection(verdict, paint, columns),
    detectedSection(verdict, paint, columns),
  ];
  return `${sections
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** One line on what a run is doing, for the last line of a terminal. */
export function formatProgress({ phase, nodesReady, nodesTotal }: Progress): string {
  switch (phase) {
    case 'inventory':
      return 'reading the cluster …';
    case 'starting':
      return `starting agents: ${nodesReady} of ${nodesTotal} nodes …`;
    case 'sweep':
      return `probing from ${nodesReady} of ${nodesTotal} nodes …`;
    case 'focus':
      return 'packets were lost: measuring again …';
    default:
      return 'judging …';
  }
}

function findingSection(
  title: string,
  cause: VerdictFinding,
  verdict: Verdict,
  paint: Paint,
  columns: number,
  index: number,
): readonly string[] {
  const number = verdict.causes.length > 1 ? ` ${index + 1}` : '';
  const explained = `Explains ${cause.explains.length} of ${count(verdict.symptoms.length, 'failed probe')}.`;
  return [
    `${paint('bold', `${title}${number}`)}  ${paint('red', cause.layer)}  ${oneLine(entityName(cause.entity))}  ${paint('gray', oneLine(cause.code))}`,
    ...fold(sentence(cause.summary), '  ', columns),
    ...cause.evidence.map((item) => paint('gray', `    ${oneLine(item.where)}: ${oneLine(item.source)}: ${oneLine(item.text)}`)),
    ...fold(explained, '  ', columns),
    ...(cause.advice === undefined ? [] : fold(oneLine(cause.advice), '  ', columns)),
    ...(cause.remedy === undefined
      ? []
      : [
          `  ${paint('cyan', 'Remedy')}  ${oneLine(cause.remedy.id)}${cause.remedy.node === null ? '' : ` on ${oneLine(cause.remedy.node)}`}`,
        ]),
  ];
}

function alternatives({ alternatives: sets }: Verdict, columns: number): readonly (readonly string[])[] {
  if (sets.length === 0) return [];
  const names = sets.map((set) => set.map((index) => `cause ${index + 1}`).join(' with ')).join(', or ');
  return [fold(`By itself each of these would explain every symptom: ${names}. Mend one, then look again.`, '', columns)];
}

function locatedSection(located: Verdict['located'][number], paint: Paint, columns: number): readonly string[] {
  const loss = located.lossPercent === 100 ? '' : `, ${located.lossPercent} % lost`;
  const way =
    located.direction === 'undetermined'
      ? ', direction not determined'
      : located.direction === 'both'
        ? ', both directions'
        : ', one direction';
  return [
    `${paint('bold', 'Located')}  ${paint('red', located.layer)}  ${paint('gray', 'cause not found')}`,
    ...fold(oneLine(`${capital(located.segment)}: ${located.class}${loss}${way}.`), '  ', columns),
    ...located.evidence.map((item) => paint('gray', `    ${oneLine(item.where)}: ${oneLine(item.text)}`)),
    ...fold(`Next: ${oneLine(located.next)}`, '  ', columns),
  ];
}

function symptomSection({ symptoms }: Verdict, paint: Paint): readonly string[] {
  if (symptoms.length === 0) return [];
  const shown = symptoms.slice(0, MAX_SYMPTOMS).map(({ layer, id, result }) => {
    const detail = result.detail === undefined ? '' : ` (${oneLine(result.detail)})`;
    return `  ${layer.padEnd(3)}  ${oneLine(id)}: ${result.how}, ${result.delivered} of ${result.sent}${detail}`;
  });
  const more =
    symptoms.length > MAX_SYMPTOMS
      ? [paint('gray', `  … and ${symptoms.length - MAX_SYMPTOMS} more (--output json has all of them)`)]
      : [];
  return [paint('bold', `Failed probes  ${symptoms.length}`), ...shown, ...more];
}

function risksSection(risks: readonly VerdictFinding[], paint: Paint, columns: number): readonly string[] {
  return [
    `${paint('bold', 'Risks')}  ${paint('gray', 'true, but not what fails now')}`,
    ...risks.flatMap((risk) => fold(`${oneLine(risk.code)}: ${sentence(risk.summary)}`, '  ', columns)),
  ];
}

function layersSection({ layers, checked, notChecked }: Verdict, paint: Paint, columns: number): readonly string[] {
  const strip = LAYERS.map((layer) => `${layer} ${paint(LAYER_FORMAT[layers[layer]], layers[layer])}`).join('  ');
  const denied = checked.expectedDenied === 0 ? '' : `, ${checked.expectedDenied} denied by a NetworkPolicy as they should be`;
  const loss =
    checked.missedLossPercent === null
      ? ''
      : ` Steady loss below ${checked.missedLossPercent} % on one path could have been missed.`;
  const complete = notChecked.length === 0 ? ' Every planned check completed.' : '';
  return [
    `${paint('bold', 'Layers')}  ${strip}`,
    ...fold(
      `${count(checked.nodes, 'node')}, ${count(checked.checks, 'check')}, ${checked.passed} of ${count(checked.probes, 'probe')} passed${denied}.${complete}${loss}`,
      '',
      columns,
    ).map((line) => paint('gray', line)),
  ];
}

function notCheckedSection({ notChecked }: Verdict, paint: Paint, columns: number): readonly string[] {
  if (notChecked.length === 0) return [];
  return [
    paint(['magenta', 'bold'], 'Not checked'),
    ...notChecked.flatMap(({ what, where, reason }) => fold(oneLine(`${what} on ${where}: ${reason}`), '  ', columns)),
  ];
}

function detectedSection({ detected = [] }: Verdict, paint: Paint, columns: number): readonly string[] {
  if (detected.length === 0) return [];
  const line = `Detected: ${detected.map(({ value }) => oneLine(value)).join(', ')}`;
  return fold(line, '', columns).map((text) => paint('gray', text));
}

function sentence(text: string): string {
  const clean = oneLine(text);
  return capital(/[.!?]$/.test(clean) ? clean : `${clean}.`);
}

/** A capital first letter, except for what is a name: a sysctl, a device, a node. */
function capital(text: string): string {
  return /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** Folds text at the given number of columns, each line behind the indent. */
export function fold(text: string, indent: string, columns: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of cleanText(text).split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > columns) {
      lines.push(indent + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, indent + line];
}
