import type { Config } from '../config.ts';
import { code, type Mrkdwn, md, mention, plain } from '../formatters/slack/markup.ts';
import { remedyCard } from '../formatters/slack/remedy.ts';
import { duration } from '../formatters/slack/words.ts';
import { signApproval } from '../jobs/approval.ts';
import type { Producer } from '../jobs/producer.ts';
import type { RemedyPlan } from '../model/remedy.ts';
import { messageOf } from '../model/text.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import type { ActionStore, Standstill } from '../store/actions.ts';
import { newId } from '../store/ids.ts';
import type { Log } from '../store/redis.ts';
import type { RunStore } from '../store/runs.ts';
import type { Grant } from './authorize.ts';

/** A verdict's offers stand for an hour: after that the network has to be looked at again first. */
const OFFER_MS = 3_600_000;

export type RemedyStores = { readonly runs: RunStore; readonly actions: ActionStore };

type Options = { readonly config: Config; readonly stores: RemedyStores; readonly producer: Producer; readonly log: Log };

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
  if (!isShownWhole(offer, config)) return md`This remedy is not offered: its card could not show everything that it runs.`;
  const by = { user: grant.user, team: grant.team };
  const requested = await stores.actions.request(
    { id: newId('a'), run, channel: grant.channel, plan: offer, by },
    config.timeouts.approveMs,
  );
  return requestedText(requested);
}

function requestedText({ kind, id }: Awaited<ReturnType<ActionStore['request']>>): Mrkdwn {
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
  };
  if (!isShownWhole(plan, config)) return md`This is not offered: its card could not show everything that it runs.`;
  const by = { user: grant.user, team: grant.team };
  const order = { id: newId('a'), run: action.run, channel: grant.channel, plan, by };
  const requested = await stores.actions.request(order, config.timeouts.approveMs);
  return requestedText(requested);
}

/** Whether a card can show everything that a plan would run. */
export function isShownWhole(plan: RemedyPlan, config: Config): boolean {
  const nobody = { user: 'U0', team: 'T0' };
  const action = {
    ...plan,
    schema: 'netcheck.action/v1' as const,
    id: newId('a'),
    run: newId('r'),
    cluster: '',
    requestedBy: nobody,
    requestedAt: 0,
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
    approval: null,
    outcome: null,
  };
  return remedyCard(record, config.access.approve, null) !== null;
}

/** What an approver's click led to. `ask-reason`: it is their own request, and they have to type a reason first. */
export type ApprovalAnswer = { readonly kind: 'said'; readonly text: Mrkdwn } | { readonly kind: 'ask-reason' };

/**
 * Approves an action and puts it into the queue. `reason` is what an approver typed who approves their own request,
 * where that is allowed at all. Of many who approve at once one succeeds; the others are told so.
 */
export async function approveRemedy(
  grant: Grant<'approve'>,
  action: string,
  reason: string | null,
  options: Options,
): Promise<ApprovalAnswer> {
  const { config, stores, producer, log } = options;
  const said = (text: Mrkdwn): ApprovalAnswer => ({ kind: 'said', text });
  if (!config.remedies.enabled || config.approvalKey === null)
    return said(md`Remedies are switched off (${code('remedies.enabled')}).`);
  const read = await stores.actions.get(action);
  if (!read.ok) return said(md`The record of this remedy cannot be read: it will not run.`);
  const record = read.value;
  if (record === null || record.channel !== grant.channel) return said(md`This remedy is not known here (any more).`);
  if (record.state !== 'requested') return said(whyNot({ kind: 'state', state: record.state }, record));
  const own = record.action.requestedBy.user === grant.user;
  if (own && !config.access.selfApproval) return said(md`You requested this remedy: somebody else has to approve it.`);
  if (own && (reason === null || reason.trim() === '')) return { kind: 'ask-reason' };
  const expiresAt = (await stores.actions.now()) + config.timeouts.startMs;
  const approval = signApproval(record.action, { user: grant.user, team: grant.team }, expiresAt, config.approvalKey);
  const moved = await stores.actions.approve(action, approval, own ? { selfApproval: 'yes', reason: reason ?? '' } : {});
  if (!moved.ok) {
    const latest = await stores.actions.get(action);
    return said(whyNot(moved.error, latest.ok && latest.value !== null ? latest.value : record));
  }
  try {
    await producer.remediate(grant.cluster, action);
  } catch (error) {
    // The approval is stored: whoever follows the actions puts the job into the queue as long as it holds.
    log.warn({ action, error: messageOf(error) }, 'an approved action is not queued yet');
  }
  return said(md`Approved. It runs now; the thread says what became of it.`);
}

/** Denies an action, or withdraws one's own request. Returns what to tell whoever pressed the button. */
export async function denyRemedy(
  grant: Grant<'request'>,
  action: string,
  mayApprove: () => Promise<Grant<'approve'> | Mrkdwn>,
  options: Options,
): Promise<Mrkdwn> {
  const { stores } = options;
  const read = await stores.actions.get(action);
  if (!read.ok) return md`The record of this remedy cannot be read: it will not run.`;
  const record = read.value;
  if (record === null || record.channel !== grant.channel) return md`This remedy is not known here (any more).`;
  const own = record.action.requestedBy.user === grant.user;
  if (!own) {
    const approver = await mayApprove();
    if (typeof approver === 'string') return approver;
  }
  const reason = own ? 'withdrawn by whoever requested it' : 'denied';
  const moved = await stores.actions.deny(action, { user: grant.user, team: grant.team }, reason);
  if (!moved.ok) return whyNot(moved.error, record);
  return own ? md`Withdrawn: it will not run.` : md`Denied: it will not run.`;
}

function whyNot(standstill: Standstill, record: ActionRecord): Mrkdwn {
  if (standstill.kind === 'gone') return md`This remedy is not known (any more).`;
  if (standstill.kind === 'unreadable') return md`The record of this remedy cannot be read: it will not run.`;
  if (standstill.kind === 'late')
    return md`Too late: this request has expired. Check again, and request it again if it is still needed.`;
  switch (standstill.state) {
    case 'approved':
    case 'started':
      return record.approval === null
        ? md`It is approved already.`
        : md`It is approved already, by ${mention(record.approval.by.user)}.`;
    case 'denied':
      return record.closedBy === null ? md`It was denied.` : md`It was denied by ${mention(record.closedBy)}.`;
    case 'expired':
      return md`Too late: this request has expired. Check again, and request it again if it is still needed.`;
    case 'superseded':
      return md`It is no longer needed: a later check did not find that fault any more.`;
    default:
      return md`It has run already: the thread says what became of it.`;
  }
}
