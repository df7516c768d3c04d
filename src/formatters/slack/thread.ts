import type { KnownBlock } from '@slack/types';
import { entityName } from '../../model/entity.ts';
import type { Citation } from '../../model/finding.ts';
import type { Detected, Symptom, Verdict, VerdictFinding } from '../../model/verdict.ts';
import { context, LIMITS, type Message, pack, preformatted, section } from './blocks.ts';
import { code, joined, lines, literal, md, plain } from './markup.ts';
import { notCheckedLine } from './verdict.ts';
import { count } from './words.ts';

const CITATIONS = 4;
const EVIDENCE_MESSAGES = 3;
const EVIDENCE_GROUPS = 50;
const SYMPTOM_LINES = 60;
const TARGETS_A_LINE = 4;

/** One reply under a verdict, with the name of its step: the same verdict always has the same steps. */
export type Reply = { readonly step: string; readonly message: Message };

/** What stands in the thread under a verdict: evidence by cause, what failed, risks, what was not checked, what kind of cluster it is. */
export function threadReplies(verdict: Verdict): Reply[] {
  return [
    ...evidenceReplies(verdict),
    ...(verdict.symptoms.length === 0 ? [] : [{ step: 'symptoms', message: symptomsMessage(verdict) }]),
    ...(verdict.risks.length === 0 ? [] : [{ step: 'risks', message: risksMessage(verdict.risks) }]),
    ...(verdict.notChecked.length === 0 ? [] : [{ step: 'not-checked', message: notCheckedMessage(verdict) }]),
    ...(verdict.detected === undefined || verdict.detected.length === 0
      ? []
      : [{ step: 'detected', message: detectedMessage(verdict.detected) }]),
  ];
}

function evidenceReplies(verdict: Verdict): Reply[] {
  const groups = [
    ...verdict.causes
      .slice(0, EVIDENCE_GROUPS)
      .map((cause) => [
        section(
          joined(
            [
              md`*${plain(cause.summary, 700)}*`,
              md`${code(cause.code, 80)} on ${code(entityName(cause.entity), 260)}, ${code(cause.layer)}; explains ${plain(count(cause.explains.length, 'symptom'))}.`,
              ...(cause.advice === undefined ? [] : [md`${plain(cause.advice, 500)}`]),
            ],
            '\n',
          ),
        ),
        ...citations(cause.evidence),
      ]),
    ...verdict.located
      .slice(0, EVIDENCE_GROUPS)
      .map((located) => [
        section(
          joined(
            [
              md`*${plain(located.segment, 500)}*: cause not found`,
              md`${code(located.layer)}, ${plain(located.class, 200)}, direction ${plain(located.direction)}; ${plain(count(located.symptoms.length, 'symptom'))}.`,
              md`*Next:* ${plain(located.next, 500)}`,
            ],
            '\n',
          ),
        ),
        ...citations(located.evidence),
      ]),
  ];
  const { messages, left: unpacked } = pack(groups, EVIDENCE_MESSAGES);
  const left = verdict.causes.length + verdict.located.length - groups.length + unpacked;
  return messages.map((blocks, index) => {
    const last = index === messages.length - 1;
    const rest = last && left > 0 ? [context(md`… and ${plain(left)} more; all are in the run's verdict.`)] : [];
    return {
      step: `evidence-${index + 1}`,
      message: { text: literal(`Evidence: ${verdict.headline}`, 300), blocks: [...blocks, ...rest] },
    };
  });
}

function citations(evidence: readonly Citation[]): KnownBlock[] {
  const shown = evidence
    .slice(0, CITATIONS)
    .map((citation) => preformatted(`${literal(`${citation.where} · ${citation.source}`, 200)}\n${citation.text}`, 700));
  const left = evidence.length - CITATIONS;
  return left > 0 ? [...shown, context(md`… and ${plain(count(left, 'piece'))} of evidence more`)] : shown;
}

function symptomsMessage(verdict: Verdict): Message {
  const total = verdict.symptoms.length;
  const table = symptomLines(verdict.symptoms);
  const shown = table.slice(0, SYMPTOM_LINES);
  const rest = table.length - shown.length;
  const half = Math.ceil(shown.length / 2);
  const parts = shown.length > 24 ? [shown.slice(0, half), shown.slice(half)] : [shown];
  return {
    text: literal(`${count(total, 'probe')} failed or lost packets`, 200),
    blocks: [
      section(md`*${plain(count(total, 'probe'))} of ${plain(verdict.checked.probes)} failed or lost packets*`),
      ...parts.map((part) => preformatted(part.join('\n'))),
      ...(rest > 0 ? [context(md`… and ${plain(count(rest, 'line'))} more`)] : []),
    ],
  };
}

/**
 * The failing probes as a compact table: those of one subject with the same result share a line, and so do subjects
 * that fail towards the same targets.
 */
export function symptomLines(symptoms: readonly Symptom[]): string[] {
  const bySubject = new Map<
    string,
    { readonly layer: string; readonly subject: string; readonly result: string; readonly targets: string[] }
  >();
  for (const symptom of symptoms) {
    const subject = literal(entityName(symptom.subject), 40);
    const { how, sent, delivered } = symptom.result;
    const result = `${how} ${delivered}/${sent}`;
    const key = JSON.stringify([symptom.layer, subject, result]);
    const row = bySubject.get(key) ?? { layer: symptom.layer, subject, result, targets: [] };
    row.targets.push(literal(entityName(symptom.target), 40));
    bySubject.set(key, row);
  }
  const byTargets = new Map<
    string,
    { readonly layer: string; readonly result: string; readonly targets: string; readonly subjects: string[] }
  >();
  for (const row of bySubject.values()) {
    const targets = several([...new Set(row.targets)]);
    const key = JSON.stringify([row.layer, row.result, targets]);
    const merged = byTargets.get(key) ?? { layer: row.layer, result: row.result, targets, subjects: [] };
    merged.subjects.push(row.subject);
    byTargets.set(key, merged);
  }
  return [...byTargets.values()].map(
    (row) => `${row.layer.padEnd(3)} ${several([...new Set(row.subjects)])} → ${row.targets}: ${row.result}`,
  );
}

function several(names: readonly string[]): string {
  if (names.length <= TARGETS_A_LINE) return names.join(', ');
  return `${names.slice(0, TARGETS_A_LINE).join(', ')} +${names.length - TARGETS_A_LINE}`;
}

function risksMessage(risks: readonly VerdictFinding[]): Message {
  const item = (risk: VerdictFinding) =>
    md`• ${plain(risk.summary, 400)} (${code(risk.code, 80)} on ${code(entityName(risk.entity), 120)})`;
  return {
    text: literal(`${count(risks.length, 'risk')} besides`, 100),
    blocks: [
      section(md`*${plain(count(risks.length, 'risk'))}:* wrong, but not what fails now`),
      section(lines(risks, item, LIMITS.section)),
    ],
  };
}

function notCheckedMessage(verdict: Verdict): Message {
  return {
    text: literal(`Not checked: ${count(verdict.notChecked.length, 'thing')}`, 100),
    blocks: [
      section(md`*Not checked:* nothing is known about these`),
      section(lines(verdict.notChecked, notCheckedLine, LIMITS.section)),
    ],
  };
}

/** One line, and below it in small print how each part is known. */
function detectedMessage(detected: readonly Detected[]): Message {
  const line = detected.map(({ value }) => literal(value, 120)).join(', ');
  const item = ({ value, source }: Detected) => md`${plain(value, 120)}: ${plain(source, 200)}`;
  return {
    text: literal(`Detected: ${line}`, 400),
    blocks: [section(md`*Detected:* ${plain(line, 900)}`), context(lines(detected, item, LIMITS.section))],
  };
}
