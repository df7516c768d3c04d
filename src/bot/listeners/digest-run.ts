import { code, joined, md, plain } from '../../formatters/slack/markup.ts';
import { defineCommand } from '../listen.ts';
import { startRun } from './run.ts';

/** `/netcheck digest run`: makes a digest of this channel now. The next one is compared with it. */
export const digestRun = defineCommand({
  word: 'digest-run',
  ability: 'diagnose',
  handle: async (grant, { number }, services, deadline) => {
    const all = await services.stores(grant.cluster).digests.list();
    const here = all.filter(({ channel }) => channel === grant.channel);
    const [only, ...more] = number === null ? here : here.filter((digest) => digest.number === number);
    if (only === undefined)
      return md`Nothing was started: this channel has no digest ${number === null ? md`` : md`${plain(number)} `}of cluster ${code(grant.cluster, 70)}. ${code('/netcheck digest list')} shows what there is.`;
    if (more.length > 0) {
      const which = here.map((digest) => code(`/netcheck digest run ${digest.number}`));
      return md`Which one? ${joined(which, ', ')}`;
    }
    return startRun(grant, { kind: 'cluster' }, services, deadline, only);
  },
});
