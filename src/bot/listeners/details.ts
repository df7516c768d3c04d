import { md } from '../../formatters/slack/markup.ts';
import { remedyDetails } from '../../formatters/slack/remedy-details.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton } from '../listen.ts';
import { policyLines } from '../policy-words.ts';
import { aboutAction } from '../remedy-flow.ts';

/** The Details button of a remedy: everything that is known of it, and what policy applies to it. */
export const details = defineButton({
  action: ACTIONS.details,
  ability: 'read',
  about: aboutAction,
  handle: async (grant, click, services) => {
    const read = await services.stores(grant.cluster).actions.get(click.id);
    if (!read.ok) return md`The record of this remedy cannot be read.`;
    if (read.value === null || read.value.channel !== grant.channel) return md`This remedy is not known here (any more).`;
    const opened = await services.call('views.open', {
      trigger_id: click.trigger,
      view: {
        type: 'modal',
        title: { type: 'plain_text', text: 'Remedy' },
        close: { type: 'plain_text', text: 'Back' },
        blocks: remedyDetails(read.value, policyLines(grant.policy, services.config.access)),
      },
    });
    return opened.ok ? null : md`Slack did not open the details. Try again.`;
  },
});
