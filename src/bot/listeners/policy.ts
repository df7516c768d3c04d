import { REMEDY_REFS } from '../../access.ts';
import { code, joined, lines, type Mrkdwn, md, plain } from '../../formatters/slack/markup.ts';
import { count } from '../../formatters/slack/words.ts';
import { policyFor, quietAt, quietWords, type RemedyRef } from '../../policy.ts';
import type { Ability, Caller, Grant } from '../authorize.ts';
import { defineCommand } from '../listen.ts';
import type { Services } from '../services.ts';

const ABOUT_REMEDIES = ['request', 'approve', 'break-glass'] as const;

/** `/netcheck policy`: what whoever types it may do in this channel, and why not what they may not. */
export const policy = defineCommand({
  word: 'policy',
  ability: 'read',
  handle: async (grant, _command, services) => {
    const caller: Caller = {
      user: grant.user,
      team: grant.team,
      enterprise: null,
      channel: grant.channel,
      cluster: grant.cluster,
    };
    const { config } = services;
    const start = [
      md`*What you may do* about cluster ${code(grant.cluster, 70)} in this channel:`,
      md`• ${await answer('diagnose', caller, null, services)}`,
    ];
    if (!config.remedies.enabled) return joined([...start, md`• Remedies are switched off (${code('remedies.enabled')}).`], '\n');
    const groups = new Map<Mrkdwn, RemedyRef[]>();
    for (const remedy of REMEDY_REFS) {
      const said = await aboutRemedy(remedy, grant, caller, services);
      groups.set(said, [...(groups.get(said) ?? []), remedy]);
    }
    const parts = [...groups].map(([said, remedies]) => {
      const names = remedies.map(({ id, riskClass }) => md`${code(id, 60)} (${plain(riskClass)})`);
      return md`${joined(names, ', ')}:\n${said}`;
    });
    return joined([...start, lines(parts, (part) => part, 2_400)], '\n');
  },
});

async function aboutRemedy(remedy: RemedyRef, grant: Grant<'read'>, caller: Caller, services: Services): Promise<Mrkdwn> {
  const { access } = services.config;
  const { approvals, selfApproval, quiet } = policyFor(access, { cluster: grant.cluster, channel: grant.channel, remedy });
  const abilities = ABOUT_REMEDIES.filter((ability) => ability !== 'break-glass' || access.breakGlass.enabled);
  const answers = await Promise.all(abilities.map((ability) => answer(ability, caller, remedy, services)));
  const now = quietAt(quiet.value, await services.stores(grant.cluster).actions.now());
  return joined(
    [
      ...answers.map((said) => md`• ${said}`),
      md`• It needs ${plain(count(approvals.value, 'approval'))} (${code(approvals.from)}), ${selfApproval.value ? md`also by whoever requested it` : md`not by whoever requested it`}.`,
      ...(now === null ? [] : [md`• These are quiet hours: ${plain(quietWords(now.window), 200)} (${code(quiet.from)}).`]),
    ],
    '\n',
  );
}

const WORDS = {
  diagnose: md`start and cancel checks`,
  request: md`request it`,
  approve: md`approve and deny it`,
  'break-glass': md`break the glass for it`,
};

async function answer(
  ability: Exclude<Ability, 'read'>,
  caller: Caller,
  remedy: RemedyRef | null,
  { authorize }: Services,
): Promise<Mrkdwn> {
  const may = await authorize(ability, caller, remedy);
  return may.ok ? md`✅ You may ${WORDS[ability]}.` : md`❌ ${may.error}`;
}
