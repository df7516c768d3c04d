import { digestNote } from '../../formatters/slack/digest.ts';
import { code, md, plain } from '../../formatters/slack/markup.ts';
import { ACTIONS } from '../../formatters/slack/run.ts';
import { describeSchedule } from '../../model/schedule.ts';
import { messageOf } from '../../model/text.ts';
import { noteRef } from '../digest-flow.ts';
import { defineButton } from '../listen.ts';
import { MOST_DIGESTS } from './digest.ts';

/** The Save button under a schedule: whoever typed it saves it, once. */
export const saveDigest = defineButton({
  action: ACTIONS.saveDigest,
  ability: 'diagnose',
  handle: async (grant, click, services) => {
    const { digests } = services.stores(grant.cluster);
    const limits = { perChannel: services.config.limits.digestsPerChannel, perCluster: MOST_DIGESTS };
    const saving = await digests.save(click.id, grant, limits);
    switch (saving.kind) {
      case 'gone':
        return md`This schedule is not known any more: it waits for a quarter of an hour, and for whoever typed it. Type it again.`;
      case 'limit':
        return md`Nothing was saved: this ${plain(saving.of)} has ${plain(saving.limit)} digests of ${code(grant.cluster, 70)} already, and that is the limit.`;
      case 'saved': {
        const saved = saving.digest;
        // What is not wound now is wound by the next sweep of the clock.
        await services.clock
          .wind(grant.cluster, saved)
          .catch((error: unknown) => services.log.warn({ error: messageOf(error) }, 'a digest is wound later'));
        const message = digestNote(saved, grant.cluster, 'saved', saved.by.user);
        await services.outbox.push(noteRef(grant.cluster, saved, 'saved'), grant.channel, [
          { op: 'root', step: 'root', message },
        ]);
        const text = md`Saved as digest ${plain(saved.number)}: ${plain(describeSchedule(saved.schedule))}. One right now: ${code(`/netcheck digest run ${saved.number}`)}`;
        return { text, buttons: [], replace: true };
      }
    }
  },
});

/** The Cancel button under a schedule. */
export const dropDigest = defineButton({
  action: ACTIONS.dropDigest,
  ability: 'diagnose',
  handle: async (grant, click, services) => {
    await services.stores(grant.cluster).digests.discard(click.id);
    return { text: md`Nothing was saved.`, buttons: [], replace: true };
  },
});
