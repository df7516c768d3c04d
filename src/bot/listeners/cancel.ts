import { md, plain } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton } from '../listen.ts';

/** The Cancel button of a run that has not ended. */
export const cancel = defineButton({
  action: ACTIONS.cancel,
  ability: 'diagnose',
  handle: async (grant, click, services) => {
    const { runs } = services.stores(grant.cluster);
    const read = await runs.get(click.id);
    if (!read.ok || read.value === null || read.value.order.channel !== grant.channel)
      return md`This run is not known here (any more).`;
    const result = await runs.cancel(click.id, grant.user);
    switch (result.kind) {
      case 'cancelled':
        return md`Cancelled.`;
      case 'asked':
        return md`Stopping. The message says when it has stopped.`;
      case 'gone':
        return md`This run is not known (any more).`;
      case 'over':
        return md`Too late: this run is ${plain(result.status)}.`;
    }
  },
});
