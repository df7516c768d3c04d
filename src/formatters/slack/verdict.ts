import { entityName } from '../../model/entity.ts';
import type { Citation } from '../../model/finding.ts';
import { LAYERS } from '../../model/layer.ts';
import type { RemedyProposal } from '../../model/remedy.ts';
import type { Located, NotChecked, Verdict, VerdictFinding } from '../../model/verdict.ts';
import { context, type Message, section } from './blocks.ts';
import { code, joined, literal, type Mrkdwn, md, plain } from './markup.ts';
import { offered, type RemedyMode } from './offers.ts';
import { footer, type RunView } from './run.ts';
import { count, duration, layerStrip, STATUS_WORDS, subjectOf, subjectText } from './words.ts';

const SHOWN_CAUSES = 3;
const SHOWN_LOCATED = 2;

/** The root message of a run with a verdict: what somebody needs who was just woken. Everything else is in the thread. */
export function verdictMessage(
  verdict: Verdict,
  run: RunView,
  remedies: { readonly mode: RemedyMode; readonly proposals: readonly RemedyProposal[] },
): Message {
  const { title, sign, word } = STATUS_WORDS[verdict.status];
  const at = verdict.layer === null ? md`` : md` at ${code(verdict.layer)}`;
  const head = [
    md`${title}${at} · ${subjectOf(verdict.run.request, verdict.run.cluster)}`,
    md`*${plain(verdict.headline, 400)}*`,
    ...(verdict.status === 'healthy' || verdict.headline.includes(verdict.scope.sentence)
      ? []
      : [md`${plain(verdict.scope.sentence, 500)}`]),
  ];
  const offers = offered(verdict, run, remedies);
  return {
    text: literal(
      `${sign} ${word}${verdict.layer === null ? '' : ` at ${verdict.layer}`}: ${subjectText(verdict.run.request, verdict.run.cluster)}. ${verdict.headline}`,
      600,
    ),
    blocks: [
      section(joined(head, '\n')),
      ...verdict.causes.slice(0, SHOWN_CAUSES).map((cause) => section(causeLines(cause))),
      ...more(verdict.causes.length - SHOWN_CAUSES, 'cause'),
      ...(verdict.alternatives.length > 1 ? [section(alternatives(verdict))] : []),
      ...verdict.located.slice(0, SHOWN_LOCATED).map((located) => section(locatedLines(located))),
      ...more(verdict.located.length - SHOWN_LOCATED, 'place without a known cause'),
      section(joined([layerStrip(verdict.layers), works(verdict)], '\n')),
      ...(verdict.notChecked.length === 0 ? [] : [section(notCheckedLines(verdict.notChecked))]),
      ...offers,
      context(joined([footer(run), took(verdict), ...threadHint(verdict)], ' · ')),
    ],
  };
}

function causeLines(cause: VerdictFinding): Mrkdwn {
  const evidence = cause.evidence[0];
  return joined(
    [
      md`*Cause:* ${plain(cause.summary, 600)}`,
      ...(evidence === undefined ? [] : [md`> ${citationLine(evidence)}`]),
      ...(cause.advice === undefined ? [] : [md`${plain(cause.advice, 400)}`]),
    ],
    '\n',
  );
}

/** `node-2 · /etc/sysctl.d/90.conf: net.ipv4.ip_forward = 0`, on one line. */
export function citationLine(citation: Citation): Mrkdwn {
  return md`${code(citation.where, 80)} ${plain(citation.source, 120)}: ${code(citation.text, 200)}`;
}

function locatedLines(located: Located): Mrkdwn {
  const loss = located.lossPercent >= 100 ? 'all are lost' : `${Math.round(located.lossPercent * 10) / 10} % are lost`;
  return joined(
    [
      md`*Cause not found.* It is ${plain(located.segment, 300)}: ${plain(located.class, 120)}, ${plain(loss)}.`,
      md`*Next:* ${plain(located.next, 400)}`,
    ],
    '\n',
  );
}

function alternatives(verdict: Verdict): Mrkdwn {
  const sets = verdict.alternatives.slice(0, 4).map((indices) => {
    const names = indices.slice(0, 4).map((index) => {
      const cause = verdict.causes[index];
      return cause === undefined ? md`?` : md`${code(cause.code, 60)} on ${code(entityName(cause.entity), 80)}`;
    });
    return joined(names, ', ');
  });
  return joined([md`*More than one explanation fits equally well:*`, ...sets.map((set) => md`• ${set}`)], '\n');
}

function works(verdict: Verdict): Mrkdwn {
  const { checked } = verdict;
  const fine = LAYERS.filter((layer) => verdict.layers[layer] === 'ok');
  const denied = checked.expectedDenied === 0 ? '' : `, ${checked.expectedDenied} are denied by policy as they should be`;
  const loss =
    checked.missedLossPercent === null
      ? ''
      : ` Steady loss below ${checked.missedLossPercent} % on one path may have gone unseen.`;
  return md`*Works:* ${plain(`${checked.passed} of ${count(checked.probes, 'probe')}${denied}${fine.length === 0 ? '' : `; ${fine.join(', ')} ok`}`)}. ${plain(`${count(checked.nodes, 'node')} and ${count(checked.checks, 'check')} looked at.${loss}`)}`;
}

function notCheckedLines(items: readonly NotChecked[]): Mrkdwn {
  const left = items.length - 3;
  const rest = left > 0 ? [md`… and ${plain(left)} more, in the thread`] : [];
  return joined([md`*Not checked:*`, ...items.slice(0, 3).map(notCheckedLine), ...rest], '\n');
}

/** One thing that was not looked at: where, what, why. */
export function notCheckedLine(item: NotChecked): Mrkdwn {
  return md`• ${code(item.where, 120)}: ${plain(item.what, 200)} (${plain(item.reason, 300)})`;
}

function more(number: number, what: string) {
  return number > 0 ? [context(md`… and ${plain(count(number, what))} more, in the thread`)] : [];
}

function took(verdict: Verdict): Mrkdwn {
  return md`took ${plain(duration(verdict.run.durationMs))}`;
}

function threadHint(verdict: Verdict): Mrkdwn[] {
  const parts = [
    ...(verdict.symptoms.length > 0 ? ['evidence'] : []),
    ...(verdict.risks.length > 0 ? [count(verdict.risks.length, 'risk')] : []),
    ...(verdict.notChecked.length > 0 ? ['what was not checked'] : []),
  ];
  return parts.length === 0 ? [] : [md`${plain(parts.join(', '))} in the thread`];
}
