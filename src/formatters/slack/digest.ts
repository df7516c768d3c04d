import type { KnownBlock } from '@slack/types';
import type { Digest, DigestDraft, DigestIssue, DigestRecord, DigestRemedy } from '../../model/digest.ts';
import type { RemedyProposal } from '../../model/remedy.ts';
import { describeSchedule, describeSlot, nextSlots } from '../../model/schedule.ts';
import type { Verdict } from '../../model/verdict.ts';
import { type Answer, button, context, type Message, section } from './blocks.ts';
import { code, joined, lines, literal, type Mrkdwn, md, mention, plain } from './markup.ts';
import { offered, type RemedyMode } from './offers.ts';
import { ACTIONS } from './run.ts';
import { count, duration, layerStrip, STATUS_WORDS } from './words.ts';

/** A digest that begins later than this after it was due is said to be late, in milliseconds. */
export const LATE_MS = 120_000;

/** How much room a list of issues takes in the message: the rest is in the thread. */
const LIST = 1_100;

/**
 * The message of a digest: what is different from the last one first. Without a verdict it says why. `proposals` are the
 * remedies that the verdict offers.
 */
export function digestMessage(
  record: DigestRecord,
  verdict: Verdict | null,
  cluster: string,
  remedies: { readonly mode: RemedyMode; readonly proposals: readonly RemedyProposal[] },
): Message {
  const title = verdict === null ? md`⚪ *No verdict*` : STATUS_WORDS[verdict.status].title;
  const word = verdict === null ? '⚪ No verdict' : `${STATUS_WORDS[verdict.status].sign} ${STATUS_WORDS[verdict.status].word}`;
  const said = verdict === null ? (record.reason ?? 'no reason was given') : verdict.headline;
  const text = literal(`${word}: digest ${record.number} of cluster ${cluster}. ${said}`, 600);
  if (verdict !== null && isQuiet(record)) {
    const works = `${count(verdict.checked.nodes, 'node')}, ${count(verdict.checked.probes, 'probe')}, every one as it should be`;
    return {
      text,
      blocks: [
        section(
          joined(
            [
              md`${title} · cluster ${code(cluster, 70)}: ${plain(works)}`,
              ...sinceLast(record),
              ...lateness(record),
              small(record),
            ],
            ' · ',
          ),
        ),
      ],
    };
  }
  const { fresh, resolved, open, unseen } = record.changes;
  const of = (issues: readonly DigestIssue[], ...kinds: DigestIssue['kind'][]) =>
    issues.filter(({ kind }) => kinds.includes(kind));
  const at = verdict === null || verdict.layer === null ? md`` : md` at ${code(verdict.layer)}`;
  return {
    text,
    blocks: [
      section(
        joined(
          [md`${title}${at} · digest of cluster ${code(cluster, 70)}`, md`*${plain(said, 400)}*`, ...lateness(record)],
          '\n',
        ),
      ),
      ...list(md`🆕 *New*`, of(fresh, 'cause', 'located'), record),
      ...list(md`✅ *Resolved*`, of(resolved, 'cause', 'located', 'risk'), record, 'since'),
      ...list(md`⏳ *Still open*`, of(open, 'cause', 'located'), record, 'since'),
      ...list(md`❔ *Not known any more*, it could not be looked at`, of(unseen, 'cause', 'located', 'risk'), record, 'since'),
      ...list(md`⚠️ *New risks*`, of(fresh, 'risk'), record),
      ...list(md`⚠️ *Known risks*`, of(open, 'risk'), record, 'since'),
      ...list(md`➖ *Not checked*`, [...of(fresh, 'gap'), ...of(open, 'gap')], record, 'since'),
      ...remedyList(record.remedies),
      ...(verdict === null
        ? [section(md`Nothing is known about the network from this digest. Now: ${code('/netcheck cluster')}`)]
        : [section(layerStrip(verdict.layers)), ...offered(verdict, { ref: `${cluster}/${record.run}` }, remedies)]),
      context(joined([...sinceLast(record), small(record)], ' · ')),
    ],
  };
}

/** Whether there is nothing to say but that all is well. */
function isQuiet({ status, changes, remedies }: DigestRecord): boolean {
  return (
    status === 'healthy' &&
    remedies.length === 0 &&
    [changes.fresh, changes.resolved, changes.unseen, changes.open].every((list) => list.length === 0)
  );
}

function list(title: Mrkdwn, issues: readonly DigestIssue[], record: DigestRecord, since?: 'since'): KnownBlock[] {
  if (issues.length === 0) return [];
  const head = md`${title} (${plain(issues.length)})`;
  const item = (issue: DigestIssue): Mrkdwn => {
    const layer = issue.layer === null ? md`` : md`${code(issue.layer)} `;
    const old =
      since === undefined || issue.since === record.at
        ? md``
        : md` _since ${plain(describeSlot(issue.since, record.schedule.timezone))}_`;
    return md`• ${layer}${plain(issue.summary, 320)}${old}`;
  };
  return [section(joined([head, lines(issues, item, LIST)], '\n'))];
}

const ENDS: Readonly<Record<string, string>> = {
  healed: 'healed',
  'not-healed': 'did not heal',
  refused: 'refused, nothing was changed',
  'outcome-unknown': 'outcome unknown',
};

function remedyList(remedies: readonly DigestRemedy[]): KnownBlock[] {
  if (remedies.length === 0) return [];
  const item = ({ title, state, outcome, requestedBy, approvedBy }: DigestRemedy): Mrkdwn => {
    const by = approvedBy === null ? md`` : md`, approved by ${mention(approvedBy)}`;
    return md`• ${plain(title, 200)}: ${plain(ENDS[outcome ?? state] ?? state)} (requested by ${mention(requestedBy)}${by})`;
  };
  return [
    section(joined([md`🔧 *Remedies since the last digest* (${plain(remedies.length)})`, lines(remedies, item, LIST)], '\n')),
  ];
}

function sinceLast({ previousAt, changed, schedule }: DigestRecord): Mrkdwn[] {
  if (previousAt === null) return [md`the first digest: nothing to compare with`];
  const when = plain(describeSlot(previousAt, schedule.timezone));
  return [changed ? md`compared with ${when}` : md`nothing changed since ${when}`];
}

function lateness({ slot, at, missed, askedBy, schedule }: DigestRecord): Mrkdwn[] {
  if (askedBy !== null || (at - slot < LATE_MS && missed === 0)) return [];
  const late =
    at - slot < LATE_MS
      ? md``
      : md`⏰ *Late* by ${plain(duration(at - slot))}: it was due on ${plain(describeSlot(slot, schedule.timezone))}.`;
  const before =
    missed === 0
      ? md``
      : md`⏰ ${plain(missed >= 100 ? 'More than 100 digests' : count(missed, 'digest'))} before this one could not be made: netcheck was not running.`;
  return [
    joined(
      [late, before].filter((part) => part !== ''),
      ' ',
    ),
  ];
}

/** Whether a digest began late. */
export function isLate({ slot, at, askedBy }: Pick<DigestRecord, 'slot' | 'at' | 'askedBy'>): boolean {
  return askedBy === null && at - slot >= LATE_MS;
}

function small({ number, run, askedBy }: DigestRecord): Mrkdwn {
  return joined(
    [md`digest ${plain(number)}`, ...(askedBy === null ? [] : [md`asked for by ${mention(askedBy)}`]), md`run ${code(run)}`],
    ' · ',
  );
}

/** What is shown before a digest is saved: the schedule in words, when it is due next, and the two buttons. */
export function draftAnswer(draft: DigestDraft, cluster: string, now: number, ownZone: boolean): Answer {
  const { schedule, theme } = draft;
  const slots = nextSlots(schedule, now, 3).map((slot) => md`• ${plain(describeSlot(slot, schedule.timezone))}`);
  const text = [
    md`A digest of cluster ${code(cluster, 70)} in this channel, *${plain(describeSchedule(schedule))}*${plain(options(draft))}. Next:`,
    ...slots,
    ...(ownZone ? [md`You named no time zone: this is the one in your Slack profile.`] : []),
    md`Pictures are drawn for Slack's ${plain(theme)} theme; with ${code(theme === 'dark' ? 'light' : 'dark')} at the end for its ${plain(theme === 'dark' ? 'light' : 'dark')} one.`,
    md`Nothing is saved yet.`,
  ];
  return {
    text: joined(text, '\n'),
    buttons: [
      button({ action: ACTIONS.saveDigest, label: 'Save', value: `${cluster}/${draft.id}`, style: 'primary' }),
      button({ action: ACTIONS.dropDigest, label: 'Cancel', value: `${cluster}/${draft.id}` }),
    ],
  };
}

/** What the channel is told when a digest was saved or removed. */
export function digestNote(digest: Digest, cluster: string, what: 'saved' | 'removed', by: string): Message {
  const words = `${describeSchedule(digest.schedule)}${options(digest)}`;
  return {
    text: literal(`Digest ${digest.number} of cluster ${cluster} was ${what}: ${words}`, 400),
    blocks: [
      section(
        md`🗓️ ${mention(by)} ${plain(what)} digest ${plain(digest.number)} of cluster ${code(cluster, 70)}: ${plain(words)}.`,
      ),
    ],
  };
}

/** What else was asked for, after the schedule's words. Light pictures are what everybody gets who says nothing. */
function options({ onlyChanges, theme }: Pick<DigestDraft, 'onlyChanges' | 'theme'>): string {
  return `${onlyChanges ? ', only when something changed' : ''}${theme === 'dark' ? ', with dark pictures' : ''}`;
}

/** One digest in a list. `last` is what its latest run says. */
export function digestLine(digest: Digest, next: number | null, last: Mrkdwn | null): Mrkdwn {
  const { number, schedule, by } = digest;
  const due = next === null ? md`never due again` : md`next ${plain(describeSlot(next, schedule.timezone))}`;
  return md`• *${plain(number)}* ${plain(describeSchedule(schedule))}${plain(options(digest))}, saved by ${mention(by.user)}; ${due}${last === null ? md`` : md`; last ${last}`}`;
}
