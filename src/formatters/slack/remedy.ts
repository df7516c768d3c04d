import type { Button } from '@slack/types';
import type { Action, ProbeReading, RemedyOutcome } from '../../model/remedy.ts';
import { cleanText } from '../../model/text.ts';
import type { ActionRecord } from '../../model/wire/action.ts';
import { button, buttons, context, LIMITS, type Message, preformatted, section, sizeOf } from './blocks.ts';
import { clockTime, code, groupMention, joined, literal, type Mrkdwn, md, mention, plain } from './markup.ts';
import { ACTIONS } from './run.ts';
import { citationLine } from './verdict.ts';
import { count } from './words.ts';

/** Who may approve, as configured. */
type Approvers = { readonly users: readonly string[]; readonly groups: readonly string[] };

/**
 * What policy says of an action: who may approve it, whether its requester may, which quiet hours are on and until when
 * (milliseconds), and whether breaking the glass would help.
 */
export type CardPolicy = {
  readonly approvers: Approvers;
  readonly selfApproval: boolean;
  readonly quiet: { readonly words: string; readonly until: number } | null;
  readonly breakGlass: boolean;
};

const NAMED_APPROVERS = 10;
/** What a card leaves free while it is asked, for what it has to say later. */
const SPARE = 1_500;

/**
 * The card of an action: what will run, where, why, at what risk, how it is undone and verified, who may approve it and
 * until when; afterwards, what became of it. Returns null when the card could not show all of what runs: such a remedy
 * must not be offered.
 */
export function remedyCard(record: ActionRecord, policy: CardPolicy, note: string | null): Message | null {
  const { action } = record;
  const commands = action.commands.map(shellWords).join('\n');
  const onFailure = (action.onFailure ?? []).map(shellWords).join('\n');
  const why = action.finding.evidence[0];
  const risk = action.irreversible === undefined ? action.risk : `${action.risk} ${action.irreversible}`;
  const shownWhole =
    commands.length <= LIMITS.preformatted &&
    cleanText(commands) === commands &&
    (action.diff ?? '').length <= LIMITS.preformatted &&
    cleanText(action.diff ?? '') === (action.diff ?? '') &&
    onFailure.length <= LIMITS.preformatted &&
    cleanText(onFailure) === onFailure &&
    escapedLength(risk) < 900 &&
    escapedLength(action.undo ?? '') < 900 &&
    action.title.length <= LIMITS.button;
  if (!shownWhole) return null;
  const blocks = [
    section(
      joined(
        [
          md`${STATES[record.state]} *${plain(action.title, 200)}*`,
          ...statusLines(record, note),
          md`*Why:* ${plain(action.finding.summary, 500)}`,
          ...(why === undefined ? [] : [md`> ${citationLine(why)}`]),
        ],
        '\n',
      ),
    ),
    section(md`*Runs exactly this* ${placeOf(action)}:`),
    preformatted(commands),
    ...(action.diff === undefined ? [] : [section(md`*Changes this:*`), preformatted(action.diff)]),
    ...(onFailure === '' ? [] : [section(md`*If one of these fails*, this:`), preformatted(onFailure)]),
    section(
      joined(
        [
          md`*Risk* (${plain(action.riskClass)}): ${plain(risk, 1_000)}`,
          action.undo === null ? md`*Undo:* not possible.` : md`*Undo:* ${plain(action.undo, 1_000)}`,
          md`*Verified by* ${verifiedBy(action)}.`,
        ],
        '\n',
      ),
    ),
    ...(record.state === 'requested' ? [section(askApprovers(record, policy))] : []),
    buttons('decision', [...(record.state === 'requested' ? decisionButtons(action, policy) : []), detailsButton(action)]),
    context(joined([md`requested by ${mention(action.requestedBy.user)}`, md`action ${code(action.id)}`], ' · ')),
  ];
  const room = record.state === 'requested' ? LIMITS.message - SPARE : LIMITS.message;
  if (blocks.reduce((sum, block) => sum + sizeOf(block), 0) > room) return null;
  return { text: literal(`${STATE_TEXTS[record.state]}: ${action.title}`, 300), blocks };
}

/** How it is verified that a remedy helped. */
export function verifiedBy({ undoes, verification }: Action): Mrkdwn {
  if (undoes !== undefined) return md`comparing the state with the one from before action ${code(undoes)}`;
  return verification.length === 0
    ? md`reading the state again`
    : md`running ${plain(count(verification.length, 'failing probe'))} again`;
}

/** Where a remedy acts. */
export function placeOf({ target }: Action): Mrkdwn {
  return target.node === null ? md`in the cluster` : md`on ${code(target.node, 260)}`;
}

const STATES: Record<ActionRecord['state'], Mrkdwn> = {
  requested: md`🛠️ *Remedy, waiting for approval:*`,
  approved: md`👍 *Remedy, approved:*`,
  started: md`⚙️ *Remedy, running:*`,
  done: md`☑️ *Remedy, done:*`,
  failed: md`✋ *Remedy, not done:*`,
  'outcome-unknown': md`❔ *Remedy, outcome unknown:*`,
  denied: md`🚫 *Remedy, denied:*`,
  expired: md`⌛ *Remedy, expired:*`,
  superseded: md`↪️ *Remedy, no longer needed:*`,
};

const STATE_TEXTS: Record<ActionRecord['state'], string> = {
  requested: 'A remedy waits for approval',
  approved: 'Remedy approved',
  started: 'Remedy running',
  done: 'Remedy done',
  failed: 'Remedy not done',
  'outcome-unknown': 'Remedy, outcome unknown',
  denied: 'Remedy denied',
  expired: 'Remedy expired',
  superseded: 'Remedy no longer needed',
};

function statusLines(record: ActionRecord, note: string | null): Mrkdwn[] {
  const by = approvedBy(record.action.approvals);
  switch (record.state) {
    case 'requested':
      return [];
    case 'approved':
      return by;
    case 'started':
      return [...by, ...(note === null ? [] : [md`Now: ${plain(note, 300)}`])];
    case 'denied':
      return [record.closedBy === null ? md`Denied.` : md`By ${mention(record.closedBy)}.`, ...reasonLine(record)];
    case 'done':
    case 'failed':
    case 'outcome-unknown':
      return [...by, ...(record.outcome === null ? [] : [outcomeSentence(record.outcome)]), ...reasonLine(record)];
    case 'expired':
    case 'superseded':
      return [...by, ...reasonLine(record)];
  }
}

function approvedBy(approvals: Action['approvals']): Mrkdwn[] {
  if (approvals.length === 0) return [];
  const names = approvals.map(({ by }) => mention(by.user));
  return [
    md`Approved by ${joined(names, ', ')}.`,
    ...approvals.flatMap(({ by, breakGlass }) =>
      breakGlass === undefined ? [] : [md`🚨 *Break-glass* by ${mention(by.user)}: ${plain(breakGlass, 500)}`],
    ),
  ];
}

function reasonLine(record: ActionRecord): Mrkdwn[] {
  return record.reason === null || record.reason === '' ? [] : [md`${plain(capital(record.reason), 500)}`];
}

function askApprovers({ action, approveBy }: ActionRecord, policy: CardPolicy): Mrkdwn {
  const { approvers, quiet } = policy;
  const { approvals, approvalsNeeded } = action;
  const named = [...approvers.users.map(mention), ...approvers.groups.map(groupMention)].slice(0, NAMED_APPROVERS);
  const left = approvers.users.length + approvers.groups.length - named.length;
  const own = policy.selfApproval ? md`also whoever requested it, with a reason` : md`but not whoever requested it`;
  const given = approvals.map(({ by }) => mention(by.user));
  return joined(
    [
      ...(approvalsNeeded > 1
        ? [
            md`*Approvals:* ${plain(approvals.length)} of ${plain(approvalsNeeded)}, by different people${given.length === 0 ? md`` : md`: so far ${joined(given, ', ')}`}.`,
          ]
        : []),
      md`*Who may approve:* ${joined(named, ', ')}${left > 0 ? md` and ${plain(left)} more` : md``}, ${own}. Until ${clockTime(approveBy)}.`,
      ...(quiet === null
        ? []
        : [
            md`🌙 *Quiet hours* (${plain(quiet.words, 200)}) until ${clockTime(quiet.until)}: only breaking the glass approves it.`,
          ]),
    ],
    '\n',
  );
}

/** What an approval is given for: the action that this card shows, and no other one under its id. */
function approvalValue({ cluster, id, digest }: Action): string {
  return `${cluster}/${id}/d${digest.slice(0, 16)}`;
}

function decisionButtons(action: Action, { breakGlass }: CardPolicy): Button[] {
  const value = approvalValue(action);
  const isLast = action.approvalsNeeded - action.approvals.length <= 1;
  return [
    button({
      action: ACTIONS.approve,
      label: isLast ? 'Approve and run' : 'Approve',
      value,
      style: 'primary',
      confirm: {
        title: isLast ? 'Run it now?' : 'Approve it?',
        text: `${action.title}. ${action.risk}`,
        yes: isLast ? 'Run it' : 'Approve',
        no: 'Not now',
      },
    }),
    button({ action: ACTIONS.deny, label: 'Deny', value, style: 'danger' }),
    ...(breakGlass ? [button({ action: ACTIONS.breakGlass, label: 'Break the glass', value, style: 'danger' })] : []),
  ];
}

function detailsButton(action: Action): Button {
  return button({ action: ACTIONS.details, label: 'Details', value: `${action.cluster}/${action.id}` });
}

/**
 * What a channel is told, outside of any thread, when somebody broke the glass for a remedy. Null when nobody did.
 */
export function breakGlassMessage({ action }: ActionRecord): Message | null {
  const broken = action.approvals.find(({ breakGlass }) => breakGlass !== undefined);
  if (broken === undefined) return null;
  return {
    text: literal(`Break-glass: ${action.title}, cluster ${action.cluster}`, 300),
    blocks: [
      section(
        joined(
          [
            md`🚨 *Break-glass:* ${mention(broken.by.user)} approved *${plain(action.title, 200)}* on cluster ${code(action.cluster, 70)} past its policy.`,
            md`*Reason:* ${plain(broken.breakGlass ?? '', 500)}`,
            md`It was requested by ${mention(action.requestedBy.user)} and needs ${plain(count(action.approvalsNeeded, 'approval'))} by policy. What runs is in the thread of run ${code(action.run)}.`,
          ],
          '\n',
        ),
      ),
      context(md`action ${code(action.id)}, in the audit as ${code('breakGlass=yes')}`),
    ],
  };
}

/** The reply under a remedy that ran: before and after, side by side, and how to undo it. */
export function outcomeMessage(action: Action, outcome: RemedyOutcome): Message {
  const probes = verifiedLines(outcome.verified);
  return {
    text: literal(`${OUTCOME_TEXTS[outcome.outcome]}: ${action.title}`, 300),
    blocks: [
      section(
        joined(
          [
            md`${outcomeSentence(outcome)} *${plain(action.title, 200)}*`,
            ...(outcome.reason === null ? [] : [md`${plain(capital(outcome.reason), 800)}`]),
          ],
          '\n',
        ),
      ),
      ...(outcome.before.length + outcome.after.length === 0
        ? []
        : [
            section(
              joined(
                [
                  ...outcome.before.slice(0, 3).map((citation) => md`*Before:* ${citationLine(citation)}`),
                  ...outcome.after.slice(0, 3).map((citation) => md`*After:* ${citationLine(citation)}`),
                ],
                '\n',
              ),
            ),
          ]),
      ...(probes.length === 0 ? [] : [preformatted(probes.join('\n'))]),
      ...(outcome.undo.length === 0
        ? []
        : [
            section(md`*To undo*, this runs ${placeOf(action)}, in this order:`),
            preformatted(outcome.undo.map(shellWords).join('\n')),
            buttons('undo', [button({ action: ACTIONS.undo, label: 'Request undo', value: `${action.cluster}/${action.id}` })]),
          ]),
    ],
  };
}

/** The probes that were sent again: those that went from the same result to the same result together, a few by name. */
function verifiedLines(verified: RemedyOutcome['verified']): readonly string[] {
  const groups = Map.groupBy(verified, (probe) => `${reading(probe.before)} → ${reading(probe.after)}`);
  return [...groups].slice(0, VERIFIED_GROUPS).flatMap(([change, probes]) => {
    const names = probes.map(({ sentence }) => literal(sentence, 100));
    if (names.length === 1) return [`${change}  ${names[0]}`];
    const more = names.length - VERIFIED_NAMES;
    return [
      `${change}  ${count(names.length, 'probe')}`,
      ...names.slice(0, VERIFIED_NAMES).map((name) => `    ${name}`),
      ...(more > 0 ? [`    … and ${more} more`] : []),
    ];
  });
}

const VERIFIED_GROUPS = 6;
const VERIFIED_NAMES = 4;

const OUTCOME_TEXTS: Record<RemedyOutcome['outcome'], string> = {
  healed: 'Healed',
  'not-healed': 'Done, but not healed',
  undone: 'Undone',
  'not-undone': 'Not undone',
  refused: 'Not done',
  'outcome-unknown': 'Outcome unknown',
};

function outcomeSentence(outcome: RemedyOutcome): Mrkdwn {
  switch (outcome.outcome) {
    case 'healed':
      return outcome.verified.length === 0
        ? md`✅ *Healed:* what was found is not there any more.`
        : md`✅ *Healed:* the probes that failed pass now.`;
    case 'not-healed':
      return md`❌ *Done, but not healed.*`;
    case 'undone':
      return md`↩️ *Undone:* the state is exactly the one from before.`;
    case 'not-undone':
      return md`❌ *Not undone.*`;
    case 'refused':
      return md`✋ *Not done:* nothing was changed.`;
    case 'outcome-unknown':
      return md`❔ *Outcome unknown:* it may have run. It is not repeated.`;
  }
}

function reading(reading: ProbeReading | null): string {
  if (reading === null) return 'not probed';
  return `${reading.how ?? 'unknown'} ${reading.delivered}/${reading.sent}`;
}

/** An argument vector as a shell would need it written, so that where one argument ends and the next begins is plain. */
export function shellWords(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}

function escapedLength(text: string): number {
  return text.length + 4 * (text.match(/[&<>]/g)?.length ?? 0);
}

function capital(sentence: string): string {
  const text = sentence.charAt(0).toUpperCase() + sentence.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
