import type { PeopleOrMembers } from '../access.ts';
import type { ClusterConfig, Config } from '../config.ts';
import { channelLink, code, joined, type Mrkdwn, md } from '../formatters/slack/markup.ts';
import type { Person } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { type Decided, isNobody, type Policy, policyFor, type RemedyRef } from '../policy.ts';
import type { Directory } from './directory.ts';
import type { SlackFault } from './slack-api.ts';

/**
 * What somebody may want to do. `read` changes nothing and starts nothing; `break-glass` is to approve alone or in quiet
 * hours, which takes the right to approve as well.
 */
export type Ability = 'read' | 'diagnose' | 'request' | 'approve' | 'break-glass';

declare const granted: unique symbol;

/**
 * The proof that somebody may do something, here and now. Only `authorize` makes one, and everything that starts or
 * changes anything asks for one: a handler that forgets to ask does not compile.
 */
export type Grant<A extends Ability> = {
  readonly [granted]: A;
  readonly user: string;
  readonly team: string;
  readonly channel: string;
  readonly cluster: string;
  /** The remedy that it was granted for, and what policy says about that. */
  readonly about: RemedyRef | null;
  readonly policy: Policy;
};

/** Who sent a request, as Slack signed it, and the cluster that it names; null for the channel's own. */
export type Caller = {
  readonly user: string;
  readonly team: string;
  readonly enterprise: string | null;
  readonly channel: string;
  readonly cluster: string | null;
};

/** The workspace that the bot is installed in, and its own user. */
export type Self = { readonly team: string; readonly enterprise: string | null; readonly user: string; readonly url: string };

/** Whether netcheck may speak in a channel, or that Slack could not be asked. `why` is a sentence. */
export type ChannelCheck = (
  channel: string,
) => Promise<{ readonly kind: 'ok' } | { readonly kind: 'refused' | 'unknown'; readonly why: Mrkdwn }>;

/**
 * Decides whether somebody may do something, with that remedy if it is about one; a refusal is a sentence for them to
 * read.
 */
export type Authorize = <A extends Ability>(
  ability: A,
  caller: Caller,
  about?: RemedyRef | null,
) => Promise<Result<Grant<A>, Mrkdwn>>;

/** Makes the check of channels: those that netcheck is in, and no organisation shares that is not allowed to. */
export function createChannelCheck(config: Config, directory: Directory): ChannelCheck {
  const shared = new Set(config.slack?.externallySharedChannels ?? []);
  return async (channel) => {
    const found = await directory.channel(channel);
    if (!found.ok) {
      const absent =
        found.error.kind === 'refused' && /^(channel_not_found|not_in_channel|missing_scope)$/.test(found.error.error);
      return absent
        ? { kind: 'refused', why: invite() }
        : { kind: 'unknown', why: couldNot(md`look at this channel`, found.error) };
    }
    const { is_member, is_im, is_archived, is_ext_shared, is_pending_ext_shared } = found.value;
    if (is_archived) return { kind: 'refused', why: md`This channel is archived.` };
    if ((is_ext_shared || is_pending_ext_shared) && !shared.has(channel)) {
      const why = md`This channel is shared with another organisation, and netcheck does not show your network there. Use an internal channel, or list ${code(channel)} under ${code('slack.externallySharedChannels')}.`;
      return { kind: 'refused', why };
    }
    return is_member || is_im ? { kind: 'ok' } : { kind: 'refused', why: invite() };
  };
}

/** Why somebody may not do something, or that it could not be found out whether they may. */
type Refusal = { readonly kind: 'refused' | 'unknown'; readonly why: Mrkdwn };

/** Makes the one function that every listener goes through. What cannot be found out is refused. */
export function createAuthorize(config: Config, directory: Directory, self: Self): Authorize {
  const decide = createDecide(config, directory, self, createChannelCheck(config, directory));
  return async (ability, caller, about = null) => {
    const decided = await decide(ability, caller, about);
    return decided.ok ? decided : fail(decided.error.why);
  };
}

/**
 * Makes the same for what runs by itself, on a schedule that somebody saved: whether they may still start it. False only
 * when they surely may not: they could when they saved it, and Slack being away is no reason to check nothing.
 */
export function createMayStill(
  config: Config,
  directory: Directory,
  self: Self,
): (cluster: string, saved: { readonly by: Person; readonly channel: string }) => Promise<boolean> {
  // Whether the channel may be told is asked when there is something to tell.
  const decide = createDecide(config, directory, self, async () => ({ kind: 'ok' }));
  return async (cluster, { by, channel }) => {
    const decided = await decide('diagnose', { ...by, enterprise: null, channel, cluster }, null);
    return decided.ok || decided.error.kind === 'unknown';
  };
}

function createDecide(config: Config, directory: Directory, self: Self, checkChannel: ChannelCheck) {
  async function checkUser(caller: Caller): Promise<Refusal | null> {
    if (
      caller.team !== self.team ||
      (caller.enterprise !== null && self.enterprise !== null && caller.enterprise !== self.enterprise)
    ) {
      return refused(md`You belong to another workspace: netcheck answers only to members of the one it is installed in.`);
    }
    const found = await directory.user(caller.user);
    if (!found.ok) return { kind: 'unknown', why: couldNot(md`find out who you are`, found.error) };
    const user = found.value;
    if (user.deleted) return refused(md`Your Slack account is deactivated.`);
    if (user.is_bot || user.is_app_user || user.id === 'USLACKBOT') return refused(md`Bots and apps may not use netcheck.`);
    if (
      user.is_stranger ||
      (user.team_id !== undefined && user.team_id !== self.team && !sameEnterprise(user.enterprise_user?.enterprise_id))
    ) {
      return refused(md`You belong to another organisation (Slack Connect): netcheck answers only to members of this one.`);
    }
    if (user.is_restricted || user.is_ultra_restricted)
      return refused(md`Guests may not use netcheck. Ask a full member of the workspace.`);
    if (user.is_invited_user) return refused(md`Your invitation to this workspace is not accepted yet.`);
    return null;
  }

  function sameEnterprise(enterprise: string | undefined): boolean {
    return enterprise !== undefined && enterprise === self.enterprise;
  }

  /** The cluster that is asked about: the one that is named, if the channel may ask about it, or the channel's only one. */
  function clusterOf(channel: string, named: string | null): Result<string, Mrkdwn> {
    const clusters = Object.entries(config.clusters);
    const listed = clusters.filter(([, { channels }]) => channels?.includes(channel));
    const here = (listed.length > 0 ? listed : clusters.filter(([, { channels }]) => channels === undefined)).map(
      ([name]) => name,
    );
    const [only, ...more] = here;
    if (only === undefined) return fail(elsewhere(clusters));
    if (named === null) {
      return more.length === 0
        ? ok(only)
        : fail(md`This channel asks about ${names(here)}. Say which: end the command with ${code(`on ${only}`, 80)}.`);
    }
    if (here.includes(named)) return ok(named);
    const known = clusters.find(([name]) => name === named);
    return fail(
      known === undefined
        ? md`There is no cluster ${code(named, 80)}. This channel asks about ${names(here)}.`
        : md`Cluster ${code(named, 70)} is not asked about in this channel, but in ${channelsOf(known)}. This channel asks about ${names(here)}.`,
    );
  }

  async function isAmong(people: PeopleOrMembers, user: string): Promise<Result<boolean, SlackFault>> {
    if (people === 'members') return ok(true);
    if (people.users.includes(user)) return ok(true);
    for (const group of people.groups) {
      const members = await directory.group(group);
      if (!members.ok) return members;
      if (members.value.includes(user)) return ok(true);
    }
    return ok(false);
  }

  async function checkAbility(ability: Ability, user: string, policy: Policy): Promise<Refusal | null> {
    if (ability === 'read') return null;
    if (ability !== 'break-glass') return checkPeople(ability, policy[ability], user);
    const refusal = await checkPeople('approve', policy.approve, user);
    if (refusal !== null) return refusal;
    const { enabled, people } = config.access.breakGlass;
    if (!enabled) return refused(md`Nobody may break the glass: ${code('access.breakGlass.enabled')} in netcheck.yaml is off.`);
    return checkPeople('break-glass', { value: people, from: 'access.breakGlass.people' }, user);
  }

  async function checkPeople(
    ability: Exclude<Ability, 'read'>,
    { value: people, from }: Decided<PeopleOrMembers>,
    user: string,
  ): Promise<Refusal | null> {
    const may = await isAmong(people, user);
    if (!may.ok) return { kind: 'unknown', why: couldNot(md`look up the user groups in ${code(from)}`, may.error) };
    if (may.value) return null;
    if (isNobody(people)) return refused(md`Nobody may ${WORDS[ability]}: ${code(from)} in netcheck.yaml is empty.`);
    return refused(md`You may not ${WORDS[ability]}: you are not listed in ${code(from)} of netcheck.yaml.`);
  }

  return async <A extends Ability>(ability: A, caller: Caller, about: RemedyRef | null): Promise<Result<Grant<A>, Refusal>> => {
    const [user, channel] = await Promise.all([checkUser(caller), checkChannel(caller.channel)]);
    const refusal = user ?? (channel.kind === 'ok' ? null : channel);
    if (refusal !== null) return fail(refusal);
    const cluster = clusterOf(caller.channel, caller.cluster);
    if (!cluster.ok) return fail(refused(cluster.error));
    const policy = policyFor(config.access, { cluster: cluster.value, channel: caller.channel, remedy: about });
    const unable = await checkAbility(ability, caller.user, policy);
    if (unable !== null) return fail(unable);
    // The only place where a grant comes from: `granted` has no value, it is a mark for the compiler.
    return ok({
      user: caller.user,
      team: caller.team,
      channel: caller.channel,
      cluster: cluster.value,
      about,
      policy,
    } as Grant<A>);
  };
}

function refused(why: Mrkdwn): Refusal {
  return { kind: 'refused', why };
}

const WORDS: Record<Exclude<Ability, 'read'>, Mrkdwn> = {
  diagnose: md`start or cancel a check`,
  request: md`request a remedy`,
  approve: md`approve or deny a remedy`,
  'break-glass': md`break the glass`,
};

function elsewhere(clusters: readonly (readonly [string, ClusterConfig])[]): Mrkdwn {
  const known = clusters.slice(0, 8).map((cluster) => md`${code(cluster[0], 70)} in ${channelsOf(cluster)}`);
  return md`No cluster is asked about in this channel: ${joined(known, ', ')}. Others are added in netcheck.yaml, under ${code('clusters.NAME.channels')}.`;
}

function channelsOf([, { channels = [] }]: readonly [string, ClusterConfig]): Mrkdwn {
  return joined(channels.slice(0, 3).map(channelLink), ', ');
}

function names(clusters: readonly string[]): Mrkdwn {
  return joined(
    clusters.slice(0, 8).map((name) => code(name, 70)),
    ', ',
  );
}

function invite(): Mrkdwn {
  return md`netcheck is not in this channel, so nothing was started. Type ${code('/invite @netcheck')} here, then try again.`;
}

function couldNot(what: Mrkdwn, fault: SlackFault): Mrkdwn {
  const why =
    fault.kind === 'refused'
      ? md`because Slack answered ${code(fault.error)}`
      : fault.kind === 'rate-limited'
        ? md`because Slack answered that there are too many requests`
        : md`because Slack did not answer`;
  return md`Nothing was started: netcheck could not ${what}, ${why}. Try again in a moment.`;
}
