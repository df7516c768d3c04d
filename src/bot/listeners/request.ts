import { md } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton } from '../listen.ts';
import { aboutOffer, requestRemedy } from '../remedy-flow.ts';

/** A remedy's button under a verdict. */
export const request = defineButton({
  // One button for each remedy: Slack wants the ids in a message to differ.
  action: new RegExp(`^${ACTIONS.request}:\\d{1,2}$`),
  ability: 'request',
  about: aboutOffer,
  handle: async (grant, click, services) => {
    if (click.item === null) return md`This button belongs to another version of netcheck. Check again.`;
    return requestRemedy(grant, click.id, click.item, { ...services, stores: services.stores(grant.cluster) });
  },
});
