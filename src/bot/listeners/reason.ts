import type { Mrkdwn } from '../../formatters/slack/markup.ts';
import { md } from '../../formatters/slack/markup.ts';
import type { Grant } from '../authorize.ts';
import type { Services } from '../services.ts';

/**
 * Opens a form with one input, for a reason. What is typed comes to the modal listener of that `callback`. Returns what to
 * say when Slack does not open it.
 */
export async function askReason(
  grant: Pick<Grant<'read'>, 'channel'>,
  click: { readonly cluster: string; readonly id: string; readonly item: string | null; readonly trigger: string },
  form: { readonly callback: string; readonly title: string; readonly submit: string; readonly label: string },
  services: Services,
): Promise<Mrkdwn | null> {
  const opened = await services.call('views.open', {
    trigger_id: click.trigger,
    view: {
      type: 'modal',
      callback_id: form.callback,
      private_metadata: `${grant.channel} ${[click.cluster, click.id, ...(click.item === null ? [] : [click.item])].join('/')}`,
      title: { type: 'plain_text', text: form.title },
      submit: { type: 'plain_text', text: form.submit },
      close: { type: 'plain_text', text: 'Back' },
      blocks: [
        {
          type: 'input',
          block_id: 'reason',
          label: { type: 'plain_text', text: form.label },
          element: { type: 'plain_text_input', action_id: 'reason', min_length: 5, max_length: 500 },
        },
      ],
    },
  });
  return opened.ok ? null : md`This needs a reason, and Slack did not open the form for it. Try again.`;
}
