import { z } from 'zod';
import { draftAnswer } from '../../formatters/slack/digest.ts';
import { code, md, plain } from '../../formatters/slack/markup.ts';
import type { DigestDraft } from '../../model/digest.ts';
import { parseTimezone } from '../../model/schedule.ts';
import { newId } from '../../store/ids.ts';
import { within } from '../acceptance.ts';
import { defineCommand } from '../listen.ts';
import type { Services } from '../services.ts';

/** Digests that one cluster may have in all channels together. */
export const MOST_DIGESTS = 100;

/** What is left of the deadline when the time zone has to be known. */
const SPARE_MS = 600;

/** `/netcheck digest weekdays 09:00 Europe/Berlin`: shows what it understood, and saves nothing before Save is pressed. */
export const digest = defineCommand({
  word: 'digest',
  ability: 'diagnose',
  handle: async (grant, command, services, deadline) => {
    const { digests } = services.stores(grant.cluster);
    const all = await digests.list();
    const here = all.filter(({ channel }) => channel === grant.channel).length;
    const { digestsPerChannel } = services.config.limits;
    if (here >= digestsPerChannel || all.length >= MOST_DIGESTS) {
      const why = here >= digestsPerChannel ? `this channel has ${here} digests of` : `there are ${all.length} digests of`;
      return md`Nothing was saved: ${plain(why)} ${code(grant.cluster, 70)} already, and that is the limit. Remove one: ${code('/netcheck digest remove N')}`;
    }
    const timezone = command.timezone ?? (await ownTimezone(grant.user, services, deadline));
    if (timezone === null)
      return md`In which time zone? Nothing was saved. Type for example ${code('/netcheck digest weekdays 09:00 Europe/Berlin')}.`;
    const draft: DigestDraft = {
      id: newId('s'),
      channel: grant.channel,
      schedule: { cron: command.cron, timezone },
      onlyChanges: command.onlyChanges,
      theme: command.theme,
      by: { user: grant.user, team: grant.team },
    };
    await digests.draft(draft);
    return draftAnswer(draft, grant.cluster, Date.now(), command.timezone === null);
  },
});

const Profile = z.object({ user: z.object({ tz: z.string() }) });

/** The time zone in somebody's Slack profile, or null when it is not known in time. */
async function ownTimezone(user: string, services: Services, deadline: number): Promise<string | null> {
  const asking = services.call('users.info', { user }).then((reply) => {
    const read = Profile.safeParse(reply.ok ? reply.value : null);
    const zone = read.success ? parseTimezone(read.data.user.tz) : null;
    return zone?.ok === true ? zone.value : null;
  });
  return within(asking, deadline - SPARE_MS - performance.now()).catch(() => null);
}
