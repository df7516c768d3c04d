import { riskClassOf } from '../access.ts';
import type { Config } from '../config.ts';
import { clockTime, code, joined, type Mrkdwn, md, mention, plain } from '../formatters/slack/markup.ts';
import type { RemedyMode } from '../formatters/slack/offers.ts';
import { remedyCard } from '../formatters/slack/remedy.ts';
import { count, duration } from '../formatters/slack/words.ts';
import { signApproval } from '../jobs/approval.ts';
import type { Producer } from '../jobs/producer.ts';
import { type Approval, digestOf, type RemedyPlan, type RemedyProposal } from '../model/remedy.ts';
import { messageOf } from '../model/text.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import { isNobody, policyFor, quietAt, quietWords, type RemedyRef } from '../policy.ts';
import type { ActionStore, Standstill } from '../store/actions.ts';
import { newId } from '../store/ids.ts';
import type { Log } from '../store/redis.ts';
import type { RunStore } from '../store/runs.ts';
import type { Grant } from './authorize.ts';

/** A verdict's offers stand for an hour: after that the network has to be looked at again first. */
const OFFER_MS = 3_600_000;

export type RemedyStores = { readonly runs: RunStore; readonly actions: ActionStore };

type Options = { readonly config: Config; readonly stores: RemedyStores; readonly producer: Producer; readonly log: Log };

/** The remedy that a verdict's button offers, for policy. */
export async function aboutOffer(
  { id, item }: { readonly id: string; readonly item: string | null },
  { runs }: Pick<RemedyStores, 'runs'>,
): Promise<RemedyRef | null> {
  const proposals = await runs.proposals(id);
  const offer = proposals.ok ? proposals.value.find((proposal) => proposal.id === item) : undefined;
  return offer === undefined ? null : refOf(offer);
}

/** The remedy of a request, for policy. */
export async function aboutAction(
  { id }: { readonly id: string },
  { actions }: Pick<RemedyStores, 'actions'>,
): Promise<RemedyRef | null> {
  const read = await actions.get(id);
  return read.ok && read.value !== null ? refOf(read.value.action) : null;
}

function refOf({ remedy, riskClass }: RemedyPlan): RemedyRef {
  return { id: remedy, riskClass };
}

/** Whether a grant was given for this very remedy, whose risk is what this netcheck knows it to be. */
function isGrantedFor({ about }: Pick<Grant<'request'>, 'about'>, { remedy, riskClass }: RemedyPlan): boolean {
  return about?.id === remedy && about.riskClass === riskClass && (riskClassOf(remedy) ?? riskClass) === riskClass;
}

const OTHER_VERSION = md`This remedy belongs to another version of netcheck. Check again with ${code('/netcheck cluster')}.`;

/** Requests what a verdict offers. Returns what to tell whoever pressed the button. */
export async function requestRemedy(grant: Grant<'request'>, run: string, proposal: string, options: Options): Promise<Mrkdwn> {
  const { config, stores } = options;
  if (!config.remedies.enabled) return md`Remedies are switched off (${code('remedies.enabled')}).`;
  const [found, proposals, now] = await Promise.all([stores.runs.get(run), stores.runs.proposals(run), stores.actions.now()]);
  if (!found.ok || !proposals.ok)
    return md`The record of this run cannot be read. Check again with ${code('/netcheck cluster')}.`;
  if (found.value === null || found.value.order.channel !== grant.channel)
    return md`This run is not known here (any more). Check again with ${code('/netcheck cluster')}.`;
  const age = now - (found.value.finishedAt ?? now);
  if (age > OFFER_MS)
    return md`This verdict is ${plain(duration(age))} old. Check again with ${code('/netcheck cluster')}: a remedy is offered if it is still needed.`;
  const offer = proposals.value.find(({ id }) => id === proposal);
  if (offer === undefined) return md`This verdict offers no such remedy.`;
  return ask(grant, run, offer, options);
}

/** Stores a request for what a plan proposes, where policy lets it be asked for now. */
async function ask(grant: Grant<'request'>, run: string, plan: RemedyPlan, { config, stores }: Options): Promise<Mrkdwn> {
  if (!isGrantedFor(grant, plan)) return OTHER_VERSION;
  if (!isShownWhole(plan, config)) return md`This remedy is not offered: its card could not show everything that it runs.`;
  const { approve, approvals, quiet } = grant.policy;
  if (isNobody(approve.value)) return md`Nobody may approve this remedy: ${code(approve.from)} in netcheck.yaml is empty.`;
  const hush = quietAt(quiet.value, await stores.actions.now());
  if (hush !== null && !config.access.breakGlass.enabled)
    return md`Not requested: ${quietSentence(hush, quiet.from)} Ask again then.`;
  const { kind, id } = await stores.actions.request(
    {
      id: newId('a'),
      run,
      channel: grant.channel,
      plan,
      by: { user: grant.user, team: grant.team },
      approvalsNeeded: approvals.value,
      detail: { riskClass: plan.riskClass, approvalsNeeded: String(approvals.value) },
    },
    config.timeouts.approveMs,
  );
  if (kind === 'open') return md`This remedy is requested already (${code(id)}): it waits in its thread.`;
  return md`Requested (${code(id)}). What will run, and who may approve it, is in the thread.`;
}

/** Requests that the state from before a remedy is brought back. Returns what to tell whoever pressed the button. */
export async function requestUndo(grant: Grant<'request'>, id: string, options: Options): Promise<Mrkdwn> {
  const { config, stores } = options;
  if (!config.remedies.enabled) return md`Remedies are switched off (${code('remedies.enabled')}).`;
  const read = await stores.actions.get(id);
  if (!read.ok || read.value === null || read.value.channel !== grant.channel)
    return md`This remedy is not known here (any more).`;
  const { action, state, outcome } = read.value;
  if (state !== 'done' || outcome === null || outcome.undo.length === 0) return md`There is nothing that could be undone.`;
  const { remedy, title, target, params, riskClass, finding } = action;
  const plan: RemedyPlan = {
    remedy,
    title: `Undo: ${title}`.slice(0, 150),
    target,
    params,
    commands: outcome.undo,
    risk: 'It brings back the state in which the fault was found. It is refused when that state has been changed again since.',
    irreversible: 'The remedy can be requested again after the next check.',
    riskClass,
    undo: null,
    undoes: action.id,
    finding,
    verification: [],
    ...(action.timeoutMs === undefined ? {} : { timeoutMs: action.timeoutMs }),
  };
  return ask(grant, action.run, plan, options);
}

/** What a verdict can offer in a channel: what a card can show whole, and somebody may approve there. */
export function offersIn(
  config: Config,
  cluster: string,
  channel: string,
  proposals: readonly RemedyProposal[],
): { readonly mode: RemedyMode; readonly proposals: readonly RemedyProposal[] } {
  if (!config.remedies.enabled) return { mode: 'off', proposals };
  const whole = proposals.filter((offer) => isShownWhole(offer, config));
  const approvable = whole.filter(
    (offer) => !isNobody(policyFor(config.access, { cluster, channel, remedy: refOf(offer) }).approve.value),
  );
  return approvable.length === 0 ? { mode: 'nobody', proposals: whole } : { mode: 'on', proposals: approvable };
}

/** Whether a card can show everything that a plan would run. */
function isShownWhole(plan: RemedyPlan, config: Config): boolean {
  const nobody = { user: 'U0', team: 'T0' };
  const action = {
    ...plan,
    schema: 'netcheck.action/v1' as const,
    id: newId('a'),
    run: newId('r'),
    cluster: '',
    requestedBy: nobody,
    requestedAt: 0,
    approvalsNeeded: 2,
    approvals: [],
    digest: '',
  };
  const record: ActionRecord = {
    action,
    channel: '',
    state: 'requested',
    revision: 1,
    approveBy: 0,
    startBy: null,
    startedAt: null,
    closedAt: null,
    closedBy: null,
    reason: null,
    outcome: null,
  };
  const policy = { approvers: config.access.approve, selfApproval: false, quiet: { words: '', until: 0 }, breakGlass: true };
  return remedyCard(record, policy, null) !== null;
}

/** The action that a card shows: its id, and the beginning of its digest after a `d`. */
export type Shown = { readonly id: string; readonly item: string | null };

/** What a click led to. `ask-reason`: they have to type a reason first. */
export type Decision = { readonly kind: 'said'; readonly text: Mrkdwn } | { readonly kind: 'ask-reason' };

/**
 * Approves an action, and puts it into the queue when that was the last approval that it needed. `reason` is what an
 * approver typed who approves their own request, where that is allowed at all. Of many who approve at once only as many
 * succeed as are needed; the others are told so.
 */
export function approveRemedy(grant: Grant<'approve'>, shown: Shown, reason: string | null, options: Options): Promise<Decision> {
  return consent(grant, shown, reason, false, options);
}

/**
 * Approves an action alone, or in quiet hours: needs a reason, and is told to the whole channel. It is not for what can be
 * approved without.
 */
export function breakGlass(
  grant: Grant<'break-glass'>,
  shown: Shown,
  reason: string | null,
  options: Options,
): Promise<Decision> {
  return consent(grant, shown, reason, true, options);
}

async function consent(
  grant: Grant<'approve'> | Grant<'break-glass'>,
  { id, item }: Shown,
  reason: string | null,
  glass: boolean,
  { config, stores, producer, log }: Options,
): Promise<Decision> {
  const said = (text: Mrkdwn): Decision => ({ kind: 'said', text });
  const { approvalKey: key, timeouts } = config;
  if (!config.remedies.enabled || key === null) return said(md`Remedies are switched off (${code('remedies.enabled')}).`);
  const [read, now] = await Promise.all([stores.actions.get(id), stores.actions.now()]);
  if (!read.ok) return said(md`The record of this remedy cannot be read: it will not run.`);
  const record = read.value;
  if (record === null || record.channel !== grant.channel) return said(md`This remedy is not known here (any more).`);
  if (record.state !== 'requested') return said(whyNot({ kind: 'state', state: record.state }, record));
  const { policy, user, team } = grant;
  const { action } = record;
  if (!isGrantedFor(grant, action) || digestOf(action) !== action.digest) return said(OTHER_VERSION);
  if (item !== `d${action.digest.slice(0, 16)}`)
    return said(md`Not approved: what is stored is not what this card shows. Deny it, and check again.`);
  const own = action.requestedBy.user === user;
  if (own && !policy.selfApproval.value) return said(whyNot({ kind: 'own' }, record));
  const hush = quietAt(policy.quiet.value, now);
  const others = action.approvals.filter(({ by }) => by.user !== user);
  const isAlone = others.length + 1 < Math.max(action.approvalsNeeded, policy.approvals.value);
  if (glass) {
    if (hush === null && !isAlone) return said(md`Nothing has to be broken for this one: press ${code('Approve and run')}.`);
  } else {
    if (action.approvalsNeeded < policy.approvals.value)
      return said(
        md`By now this needs ${plain(count(policy.approvals.value, 'approval'))} (${code(policy.approvals.from)}), and it was requested with ${plain(action.approvalsNeeded)}. Deny it, and request it again.`,
      );
    if (others.length < action.approvals.length) return said(whyNot({ kind: 'again' }, record));
    if (hush !== null)
      return said(
        md`Not approved: ${quietSentence(hush, policy.quiet.from)}${config.access.breakGlass.enabled ? md` Until then only breaking the glass approves it.` : md``}`,
      );
  }
  const why = reason?.trim() ?? '';
  if ((own || glass) && why === '') return { kind: 'ask-reason' };
  const by = { user, team };
  const moved = await stores.actions.approve(
    id,
    by,
    (latest, isLast): Approval => {
      // An approval that has to wait for another one holds as long as that may come and be carried out.
      const expiresAt = (isLast || glass ? now : record.approveBy) + timeouts.startMs;
      return signApproval(latest, by, expiresAt, key, glass ? why : null);
    },
    {
      selfApproval: policy.selfApproval.value,
      detail: {
        ...(glass ? { breakGlass: 'yes', overrides: overridden(hush !== null, isAlone) } : {}),
        ...(own ? { selfApproval: 'yes' } : {}),
        ...(own || glass ? { reason: why } : {}),
      },
    },
  );
  if (!moved.ok) {
    const latest = await stores.actions.get(id);
    return said(whyNot(moved.error, latest.ok && latest.value !== null ? latest.value : record));
  }
  if (moved.value === 'requested') {
    const left = action.approvalsNeeded - others.length - 1;
    return said(
      md`Approved. It runs as soon as ${plain(left === 1 ? 'somebody else approves it' : `${left} others approve it`)}, too.`,
    );
  }
  try {
    await producer.remediate(grant.cluster, id);
  } catch (error) {
    // The approval is stored: whoever follows the actions puts the job into the queue as long as it holds.
    log.warn({ action: id, error: messageOf(error) }, 'an approved action is not queued yet');
  }
  return said(md`Approved. It runs now; the thread says what became of it.`);
}

function overridden(isQuiet: boolean, isAlone: boolean): string {
  return [...(isQuiet ? ['quiet hours'] : []), ...(isAlone ? ['further approvals'] : [])].join(', ');
}

function quietSentence(quiet: NonNullable<ReturnType<typeof quietAt>>, from: string): Mrkdwn {
  return md`these are quiet hours (${plain(quietWords(quiet.window), 200)}, ${code(from)}), until ${clockTime(quiet.until)}.`;
}

/** Denies an action, for which approvers give a reason, or withdraws one's own request. */
export async function denyRemedy(
  grant: Grant<'read'>,
  action: string,
  typed: string | null,
  mayApprove: () => Promise<Grant<'approve'> | Mrkdwn>,
  options: Options,
): Promise<Decision> {
  const { stores } = options;
  const said = (text: Mrkdwn): Decision => ({ kind: 'said', text });
  const read = await stores.actions.get(action);
  if (!read.ok) return said(md`The record of this remedy cannot be read: it will not run.`);
  const record = read.value;
  if (record === null || record.channel !== grant.channel) return said(md`This remedy is not known here (any more).`);
  const own = record.action.requestedBy.user === grant.user;
  if (!own) {
    const approver = await mayApprove();
    if (typeof approver === 'string') return said(approver);
  }
  if (record.state !== 'requested' && record.state !== 'approved')
    return said(whyNot({ kind: 'state', state: record.state }, record));
  const why = typed?.trim() ?? '';
  if (!own && why === '') return { kind: 'ask-reason' };
  const reason = own ? 'withdrawn by whoever requested it' : why;
  const moved = await stores.actions.deny(action, { user: grant.user, team: grant.team }, reason);
  if (!moved.ok) return said(whyNot(moved.error, record));
  return said(own ? md`Withdrawn: it will not run.` : md`Denied: it will not run.`);
}

function whyNot(standstill: Standstill, record: ActionRecord): Mrkdwn {
  const { approvals, approvalsNeeded } = record.action;
  switch (standstill.kind) {
    case 'gone':
      return md`This remedy is not known (any more).`;
    case 'unreadable':
      return md`The record of this remedy cannot be read: it will not run.`;
    case 'late':
      return md`Too late: this request has expired. Check again, and request it again if it is still needed.`;
    case 'own':
      return md`You requested this remedy: somebody else has to approve it.`;
    case 'again':
      return md`You have approved it already (${plain(approvals.length)} of ${plain(approvalsNeeded)}): somebody else has to approve it, too.`;
    case 'state':
    case 'early':
      break;
  }
  switch (standstill.state) {
    case 'approved':
    case 'started':
      return approvals.length === 0
        ? md`It is approved already.`
        : md`It is approved already, by ${joined(
            approvals.map(({ by }) => mention(by.user)),
            ', ',
          )}.`;
    case 'denied':
      return record.closedBy === null ? md`It was denied.` : md`It was denied by ${mention(record.closedBy)}.`;
    case 'expired':
      return md`Too late: this request has expired. Check again, and request it again if it is still needed.`;
    case 'superseded':
      return md`It is no longer needed: ${plain(record.reason ?? 'the fault is gone')}.`;
    default:
      return md`It has run already: the thread says what became of it.`;
  }
}
