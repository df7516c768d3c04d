import type { HistoryEntry } from '../../model/wire/digest.ts';
import { type Answer, button } from './blocks.ts';
import { code, dateTime, joined, link, type Mrkdwn, md, mention, plain } from './markup.ts';
import { ACTIONS } from './run.ts';
import { STATUS_WORDS, subjectOf } from './words.ts';

/** So many entries are shown at once. */
export const HISTORY_PAGE = 10;

/** With the longest names of nodes, so many lines fit into what Slack takes as one paragraph. */
const LINES_A_SECTION = 4;

/**
 * A page of the history, newest first. `root` is the timestamp of the message that shows an entry, `url` that of the
 * workspace.
 */
export function historyAnswer(
  lines: readonly { readonly entry: HistoryEntry; readonly root: string | null }[],
  about: { readonly cluster: string; readonly page: number; readonly total: number; readonly url: string },
): Answer {
  const { cluster, page, total, url } = about;
  const pages = Math.max(1, Math.ceil(total / HISTORY_PAGE));
  if (total === 0)
    return { text: md`Nothing was checked in cluster ${code(cluster, 70)} yet. Type ${code('/netcheck cluster')}.`, buttons: [] };
  if (page > pages) return { text: md`The history of cluster ${code(cluster, 70)} has ${plain(pages)} pages.`, buttons: [] };
  const shown = lines.map((line) => historyLine(line, cluster, url));
  const turn = (way: 'newer' | 'older', to: number) =>
    button({ action: `${ACTIONS.history}:${way}`, label: way === 'newer' ? 'Newer' : 'Older', value: `${cluster}/h${to}` });
  return {
    text: md`*History of cluster ${code(cluster, 70)}*, page ${plain(page)} of ${plain(pages)}; kept for 90 days`,
    more: Array.from({ length: Math.ceil(shown.length / LINES_A_SECTION) }, (_, part) =>
      joined(shown.slice(part * LINES_A_SECTION, (part + 1) * LINES_A_SECTION), '\n'),
    ),
    buttons: [...(page > 1 ? [turn('newer', page - 1)] : []), ...(page < pages ? [turn('older', page + 1)] : [])],
  };
}

function historyLine(
  { entry, root }: { readonly entry: HistoryEntry; readonly root: string | null },
  cluster: string,
  url: string,
): Mrkdwn {
  const title = entry.status === null ? md`⚪ *No verdict*` : STATUS_WORDS[entry.status].title;
  const what =
    entry.digest === null
      ? subjectOf(entry.request, cluster)
      : md`digest ${plain(entry.digest)}${entry.late ? md` (late)` : md``}`;
  const by = entry.by === null ? md`` : md` by ${mention(entry.by)}`;
  const where = root === null ? code(entry.run) : link(`${url}archives/${entry.channel}/p${root.replace('.', '')}`, md`thread`);
  const quiet = entry.posted ? md`` : md`, not posted`;
  return md`• ${dateTime(entry.at)} ${title} ${what}${by}${quiet}: ${plain(entry.headline, 150)} ${where}`;
}
