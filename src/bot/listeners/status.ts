import { code, joined, link, type Mrkdwn, md, mention, plain } from '../../formatters/slack/markup.ts';
import { count, duration, STATUS_WORDS, subjectOf } from '../../formatters/slack/words.ts';
import type { Run } from '../../model/wire/run.ts';
import { outboxRef } from '../../store/outbox.ts';
import type { Workforce } from '../../store/workers.ts';
import { defineCommand } from '../listen.ts';
import type { Services } from '../services.ts';

const RECENT = 5;

/** `/netcheck status`: who works for this channel's cluster, and who carries out remedies where they are on, what runs, what was found last, what waits for approval. */
export const status = defineCommand({
  word: 'status',
  ability: 'read',
  handle: async (grant, _command, services) => {
    const { runs, actions, presence } = services.stores(grant.cluster);
    const [workforce, remediators, active, recent, open] = await Promise.all([
      presence.workforce(),
      services.config.remedies.enabled ? presence.remediators() : null,
      runs.active(),
      runs.recent(RECENT),
      actions.open(),
    ]);
    const lines = [
      workforce.alive.length > 0
        ? md`*Cluster* ${code(grant.cluster, 70)}: ${plain(count(workforce.alive.length, 'worker'))} alive, ${plain(count(active.length, 'run'))} unfinished.`
        : md`⚠️ *Cluster* ${code(grant.cluster, 70)}: no worker is alive (${lastHeard(workforce)}); ${plain(count(active.length, 'run'))} unfinished.`,
      ...(remediators === null ? [] : [remediesLine(remediators)]),
      ...(open.length > 0 ? [md`${plain(count(open.length, 'remedy request'))} open, in the thread of its run.`] : []),
      ...(recent.length === 0 ? [md`Nothing was checked yet. Type ${code('/netcheck cluster')}.`] : [md`*Latest:*`]),
      ...(await Promise.all(recent.map((id) => runLine(id, grant.cluster, services)))),
    ];
    return joined(lines, '\n');
  },
});

function remediesLine(workforce: Workforce): Mrkdwn {
  const { length } = workforce.alive;
  return length > 0
    ? md`*Remedies*: ${plain(count(length, 'worker'))} alive.`
    : md`⚠️ *Remedies*: no worker is alive that carries them out (${lastHeard(workforce)}). What is approved waits, and expires.`;
}

function lastHeard({ lastSeenMs }: Workforce): Mrkdwn {
  return lastSeenMs === null ? md`none was ever heard of` : md`the last one was heard of ${plain(duration(lastSeenMs))} ago`;
}

async function runLine(id: string, cluster: string, services: Services): Promise<Mrkdwn> {
  const { runs } = services.stores(cluster);
  const read = await runs.get(id);
  if (!read.ok || read.value === null) return md`• ${code(id)}: its record cannot be read`;
  const run = read.value;
  const root = await services.outbox.root(outboxRef(cluster, id));
  const where =
    root === null ? code(id) : link(`${services.self.url}archives/${run.order.channel}/p${root.replace('.', '')}`, code(id));
  const undelivered = run.deliveryFault === null ? md`` : md` ⚠️ could not be shown: ${code(run.deliveryFault)}`;
  return md`• ${where} ${subjectOf(run.order.request, cluster)} by ${mention(run.order.requestedBy.user)}: ${await stateOf(run, services)}${undelivered}`;
}

async function stateOf(run: Run, services: Services): Promise<Mrkdwn> {
  if (run.status !== 'finished')
    return md`${plain(run.status)}${run.reason === null || run.reason === '' ? md`` : md` (${plain(run.reason, 200)})`}`;
  const verdict = await services.stores(run.order.cluster).runs.verdict(run.order.id);
  if (!verdict.ok || verdict.value === null) return md`its verdict cannot be read`;
  return md`${STATUS_WORDS[verdict.value.status].title} ${plain(verdict.value.headline, 200)}`;
}
