import { md } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { defineButton, defineModal } from '../listen.ts';
import { approveRemedy } from '../remedy-flow.ts';

const OWN = 'approve-own';

/** The Approve button of a remedy that somebody requested. */
export const approve = defineButton({
  action: ACTIONS.approve,
  ability: 'approve',
  handle: async (grant, click, services) => {
    const answer = await approveRemedy(grant, click.id, null, { ...services, stores: services.stores(grant.cluster) });
    if (answer.kind === 'said') return answer.text;
    const opened = await services.call('views.open', {
      trigger_id: click.trigger,
      view: {
        type: 'modal',
        callback_id: OWN,
        private_metadata: `${grant.channel} ${click.cluster}/${click.id}`,
        title: { type: 'plain_text', text: 'Your own request' },
        submit: { type: 'plain_text', text: 'Approve and run' },
        close: { type: 'plain_text', text: 'Back' },
        blocks: [
          {
            type: 'input',
            block_id: 'reason',
            label: { type: 'plain_text', text: 'Why is nobody else asked? The reason stands in the audit.' },
            element: { type: 'plain_text_input', action_id: 'reason', min_length: 5, max_length: 500 },
          },
        ],
      },
    });
    return opened.ok ? null : md`You requested this yourself, and Slack did not open the form for the reason. Try again.`;
  },
});

/** The reason that an approver types who approves their own request, where that is allowed. */
export const approveOwn = defineModal({
  callback: OWN,
  ability: 'approve',
  handle: async (grant, submission, services) => {
    const options = { ...services, stores: services.stores(grant.cluster) };
    const before = await options.stores.actions.get(submission.id);
    const answer = await approveRemedy(grant, submission.id, submission.text, options);
    if (answer.kind === 'ask-reason') return md`A reason is needed.`;
    const after = await options.stores.actions.get(submission.id);
    const moved = before.ok && after.ok && before.value?.revision !== after.value?.revision;
    return moved ? null : answer.text;
  },
});
