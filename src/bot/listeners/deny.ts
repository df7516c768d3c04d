import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton } from '../listen.ts';
import { denyRemedy } from '../remedy-flow.ts';

/** The Deny button of a remedy: for approvers, and for whoever requested it to withdraw it. */
export const deny = defineButton({
  action: ACTIONS.deny,
  ability: 'request',
  handle: (grant, click, services) => {
    const mayApprove = async () => {
      const approver = await services.authorize('approve', click.caller);
      return approver.ok ? approver.value : approver.error;
    };
    return denyRemedy(grant, click.id, mayApprove, { ...services, stores: services.stores(grant.cluster) });
  },
});
