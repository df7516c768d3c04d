import { code, joined, md } from '../../formatters/slack/markup.ts';
import { defineCommand } from '../listen.ts';

/** `/netcheck help`: what can be typed. */
export const help = defineCommand({
  word: 'help',
  ability: 'read',
  handle: async (grant, _command, { config }) => {
    const lines = [
      md`netcheck finds out why the network of cluster ${code(grant.cluster, 70)} is broken, and proves it.`,
      md`• ${code('/netcheck cluster')} checks the whole cluster`,
      md`• ${code('/netcheck node NAME')} checks one node`,
      md`• ${code('/netcheck pod NAMESPACE/NAME')} checks one pod, and connects to it`,
      md`• ${code('/netcheck digest weekdays 09:00 Europe/Berlin')} checks it regularly and says here what changed; with ${code('only changes')} at the end it is silent when nothing did, with ${code('dark')} its pictures are made for Slack's dark theme; ${code('/netcheck digest list')}, ${code('digest run N')}, ${code('digest remove N')}`,
      md`• ${code('/netcheck history')} shows the runs and digests of the last 90 days`,
      md`• ${code('/netcheck policy')} tells what you may do here, and why not the rest`,
      md`• ${code('/netcheck status')} tells who works, what runs and what was found last`,
      ...(Object.keys(config.clusters).length > 1
        ? [md`• at the end of any of them, ${code('on CLUSTER')} says which cluster, where a channel asks about several`]
        : []),
      md`The answer comes in this channel, with the evidence in its thread.`,
      ...(config.remedies.enabled
        ? [md`Where netcheck knows a remedy there is a button: one person requests it, another one approves it.`]
        : []),
    ];
    return joined(lines, '\n');
  },
});
