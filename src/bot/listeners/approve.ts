import { md } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton, defineModal } from '../listen.ts';
import { aboutAction, approveRemedy, breakGlass } from '../remedy-flow.ts';
import { askReason } from './reason.ts';

const OWN = 'approve-own';
const GLASS = 'break-glass';

/** The Approve button of a remedy that somebody requested. */
export const approve = defineButton({
  action: ACTIONS.approve,
  ability: 'approve',
  about: aboutAction,
  handle: async (grant, click, services) => {
    const answer = await approveRemedy(grant, click, null, { ...services, stores: services.stores(grant.cluster) });
    if (answer.kind === 'said') return answer.text;
    const label = 'Why is nobody else asked? The reason stands in the audit.';
    return askReason(grant, click, { callback: OWN, title: 'Your own request', submit: 'Approve', label }, services);
  },
});

/** The reason that an approver types who approves their own request, where that is allowed. */
export const approveOwn = defineModal({
  callback: OWN,
  ability: 'approve',
  about: aboutAction,
  handle: async (grant, submission, services) => {
    const options = { ...services, stores: services.stores(grant.cluster) };
    const before = await options.stores.actions.get(submission.id);
    const answer = await approveRemedy(grant, submission, submission.text, options);
    if (answer.kind === 'ask-reason') return md`A reason is needed.`;
    const after = await options.stores.actions.get(submission.id);
    const moved = before.ok && after.ok && before.value?.revision !== after.value?.revision;
    return moved ? null : answer.text;
  },
});

/** The button by which an approver approves alone, or in quiet hours, where that is allowed. */
export const glass = defineButton({
  action: ACTIONS.breakGlass,
  ability: 'break-glass',
  about: aboutAction,
  handle: async (grant, click, services) => {
    const answer = await breakGlass(grant, click, null, { ...services, stores: services.stores(grant.cluster) });
    if (answer.kind === 'said') return answer.text;
    const label = 'Why can it not wait? The reason stands in the audit, and the whole channel is told.';
    return askReason(grant, click, { callback: GLASS, title: 'Break the glass', submit: 'Approve and run', label }, services);
  },
});

/** The reason for that. */
export const glassReason = defineModal({
  callback: GLASS,
  ability: 'break-glass',
  about: aboutAction,
  handle: async (grant, submission, services) => {
    const options = { ...services, stores: services.stores(grant.cluster) };
    const answer = await breakGlass(grant, submission, submission.text, options);
    if (answer.kind === 'ask-reason') return md`A reason is needed.`;
    const after = await options.stores.actions.get(submission.id);
    const given = after.ok ? (after.value?.action.approvals ?? []) : [];
    return given.some(({ by, breakGlass: why }) => by.user === grant.user && why !== undefined) ? null : answer.text;
  },
});
