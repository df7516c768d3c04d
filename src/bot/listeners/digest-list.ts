import { digestLine } from '../../formatters/slack/digest.ts';
import { code, joined, type Mrkdwn, md, plain } from '../../formatters/slack/markup.ts';
import { count, STATUS_WORDS } from '../../formatters/slack/words.ts';
import type { Digest } from '../../model/digest.ts';
import { describeSlot, nextSlot } from '../../model/schedule.ts';
import type { DigestStore } from '../../store/digests.ts';
import { defineCommand } from '../listen.ts';

/** `/netcheck digest list`: the digests of this channel. */
export const digestList = defineCommand({
  word: 'digest-list',
  ability: 'read',
  handle: async (grant, _command, services) => {
    const { digests } = services.stores(grant.cluster);
    const all = await digests.list();
    const here = all.filter(({ channel }) => channel === grant.channel);
    const elsewhere = all.length - here.length;
    const lines = [
      here.length === 0
        ? md`This channel has no digest of cluster ${code(grant.cluster, 70)}. Type for example ${code('/netcheck digest weekdays 09:00 Europe/Berlin')}.`
        : md`*Digests of cluster ${code(grant.cluster, 70)} in this channel:*`,
      ...(await Promise.all(here.map((digest) => line(digest, digests)))),
      ...(elsewhere > 0 ? [md`${plain(count(elsewhere, 'digest'))} more in other channels.`] : []),
      ...(here.length > 0
        ? [md`${code('/netcheck digest run N')} makes one now, ${code('/netcheck digest remove N')} removes one.`]
        : []),
    ];
    return joined(lines, '\n');
  },
});

async function line(digest: Digest, digests: DigestStore): Promise<Mrkdwn> {
  const facts = await digests.facts(digest.id);
  const title = facts?.status == null ? md`⚪ *No verdict*` : STATUS_WORDS[facts.status].title;
  const last = facts === null ? null : md`${title} on ${plain(describeSlot(facts.at, digest.schedule.timezone))}`;
  return digestLine(digest, nextSlot(digest.schedule, Date.now()), last);
}
