import type { Answer } from '../../formatters/slack/blocks.ts';
import { HISTORY_PAGE, historyAnswer } from '../../formatters/slack/history.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import type { Grant } from '../authorize.ts';
import { defineButton, defineCommand } from '../listen.ts';
import type { Services } from '../services.ts';

/** `/netcheck history`: the latest runs and digests of the cluster, a page at a time. */
export const history = defineCommand({
  word: 'history',
  ability: 'read',
  handle: (grant, { page }, services) => pageOf(grant, page, services),
});

/** The buttons that turn the pages. */
export const historyPage = defineButton({
  action: new RegExp(`^${ACTIONS.history}:(newer|older)$`),
  ability: 'read',
  handle: async (grant, click, services) => ({
    ...(await pageOf(grant, Number(/^h([1-9]\d{0,5})$/.exec(click.id)?.[1] ?? 1), services)),
    replace: true,
  }),
});

async function pageOf(grant: Grant<'read'>, page: number, services: Services): Promise<Answer> {
  const { lines, total } = await services.stores(grant.cluster).history.page((page - 1) * HISTORY_PAGE, HISTORY_PAGE);
  return historyAnswer(lines, { cluster: grant.cluster, page, total, url: services.self.url });
}
