import { type Mrkdwn, md } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import type { Caller, Grant } from '../authorize.ts';
import { defineButton, defineModal } from '../listen.ts';
import { aboutAction, denyRemedy } from '../remedy-flow.ts';
import type { Services } from '../services.ts';
import { askReason } from './reason.ts';

const REASON = 'deny-reason';

/** The Deny button of a remedy: for approvers, who give a reason, and for whoever requested it to withdraw it. */
export const deny = defineButton({
  action: ACTIONS.deny,
  ability: 'read',
  about: aboutAction,
  handle: async (grant, click, services) => {
    const answer = await denied(grant, click.id, null, click.caller, services);
    if (answer.kind === 'said') return answer.text;
    const label = 'Why not? Whoever requested it reads the reason, and it stands in the audit.';
    return askReason(grant, click, { callback: REASON, title: 'Deny the remedy', submit: 'Deny', label }, services);
  },
});

/** The reason for that. */
export const denyReason = defineModal({
  callback: REASON,
  ability: 'read',
  about: aboutAction,
  handle: async (grant, submission, services) => {
    const answer = await denied(grant, submission.id, submission.text, submission.caller, services);
    if (answer.kind === 'ask-reason') return md`A reason is needed.`;
    const after = await services.stores(grant.cluster).actions.get(submission.id);
    return after.ok && after.value?.state === 'denied' && after.value.closedBy === grant.user ? null : answer.text;
  },
});

function denied(grant: Grant<'read'>, id: string, reason: string | null, caller: Caller, services: Services) {
  const mayApprove = async (): Promise<Grant<'approve'> | Mrkdwn> => {
    const approver = await services.authorize('approve', caller, grant.about);
    return approver.ok ? approver.value : approver.error;
  };
  return denyRemedy(grant, id, reason, mayApprove, { ...services, stores: services.stores(grant.cluster) });
}
