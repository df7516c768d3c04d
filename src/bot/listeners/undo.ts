import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton } from '../listen.ts';
import { aboutAction, requestUndo } from '../remedy-flow.ts';

/** The Undo button under a remedy that ran: requests that the prior state is brought back, which is approved like any remedy. */
export const undo = defineButton({
  action: ACTIONS.undo,
  ability: 'request',
  about: aboutAction,
  handle: (grant, click, services) => requestUndo(grant, click.id, { ...services, stores: services.stores(grant.cluster) }),
});
