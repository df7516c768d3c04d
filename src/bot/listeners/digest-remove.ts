import { digestNote } from '../../formatters/slack/digest.ts';
import { code, md, plain } from '../../formatters/slack/markup.ts';
import { messageOf } from '../../model/text.ts';
import { noteRef } from '../digest-flow.ts';
import { defineCommand } from '../listen.ts';

/** `/netcheck digest remove N`: ends a digest of this channel. Its history stays. */
export const digestRemove = defineCommand({
  word: 'digest-remove',
  ability: 'diagnose',
  handle: async (grant, { number }, services) => {
    const { digests } = services.stores(grant.cluster);
    const found = (await digests.list()).find((digest) => digest.number === number && digest.channel === grant.channel);
    if (found === undefined)
      return md`This channel has no digest ${plain(number)} of cluster ${code(grant.cluster, 70)}, so nothing was removed. ${code('/netcheck digest list')} shows what there is.`;
    await digests.remove(found.id);
    await services.clock
      .unwind(grant.cluster, found)
      .catch((error: unknown) => services.log.warn({ error: messageOf(error) }, 'the clock of a digest is stopped later'));
    const message = digestNote(found, grant.cluster, 'removed', grant.user);
    await services.outbox.push(noteRef(grant.cluster, found, 'removed'), grant.channel, [{ op: 'root', step: 'root', message }]);
    return md`Removed digest ${plain(number)}.`;
  },
});
