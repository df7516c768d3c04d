import { ChannelId, type PeopleOrMembers, REMEDY_REFS, UserId } from '../access.ts';
import type { Config } from '../config.ts';
import { nearNames } from '../model/near-names.ts';
import { type Decided, isNobody, type Policy, policyFor, quietAt, quietWords, type RemedyRef } from '../policy.ts';
import { textOption } from './options.ts';
import { chosenClusters, configFile, loadConfig } from './settings.ts';
import { UsageError } from './usage-error.ts';

const ACTIONS = ['diagnose', 'request', 'approve', 'break-glass'] as const;
type PolicyAction = (typeof ACTIONS)[number];

/** Somebody who wants to do something, as far as it is known. */
type Asked = {
  readonly user: string;
  readonly action: PolicyAction;
  readonly cluster: string;
  readonly channel: string | null;
  readonly remedy: RemedyRef | null;
};

/** What policy says: the answer, why, what else applies, and what only Slack knows. Each a list of sentences. */
type Explanation = {
  readonly answer: 'allowed' | 'refused' | 'depends';
  readonly why: readonly string[];
  readonly also: readonly string[];
  readonly unknown: readonly string[];
};

const STATUS = { allowed: 0, refused: 1, depends: 2 } as const;

/**
 * `netcheck policy explain`: who may do what, and by which line of netcheck.yaml. Slack is not asked: what only Slack knows
 * is said to be unknown. Returns the exit status: 0 allowed, 1 refused, 2 it depends on what is not known here.
 */
export function policy(task: string, options: Readonly<Record<string, unknown>>): number {
  if (task !== 'explain') throw new UsageError(`policy ${task}: it is policy explain.`);
  const config = loadConfig(configFile(options), 'worker');
  const asked = readAsked(config, options);
  const about = asked.action === 'diagnose' ? [null] : asked.remedy === null ? REMEDY_REFS : [asked.remedy];
  // Remedies of which the same is to be said are told together.
  const groups = new Map<string, { readonly explanation: Explanation; readonly remedies: RemedyRef[] }>();
  for (const remedy of about) {
    const explanation = explain(config, { ...asked, remedy }, Date.now());
    const key = JSON.stringify(explanation);
    const group = groups.get(key) ?? { explanation, remedies: [] };
    if (remedy !== null) group.remedies.push(remedy);
    groups.set(key, group);
  }
  const told = [...groups.values()];
  process.stdout.write(told.map(({ explanation, remedies }) => textOf(asked, remedies, explanation)).join('\n'));
  const answers = new Set(told.map(({ explanation }) => explanation.answer));
  const [only, ...others] = answers;
  return only !== undefined && others.length === 0 ? STATUS[only] : STATUS.depends;
}

function readAsked(
  config: Config,
  options: Readonly<Record<string, unknown>>,
): Omit<Asked, 'remedy'> & { remedy: RemedyRef | null } {
  const user = textOption(options, 'user');
  const action = textOption(options, 'action');
  const channel = textOption(options, 'channel') ?? null;
  const named = textOption(options, 'remedy');
  if (user === undefined || action === undefined)
    throw new UsageError('policy explain needs --user and --action, such as: --user U0123456789 --action approve');
  if (!UserId.safeParse(user).success) throw new UsageError(`--user ${user}: ${messageOf(UserId.safeParse(user))}`);
  if (channel !== null && !ChannelId.safeParse(channel).success)
    throw new UsageError(`--channel ${channel}: ${messageOf(ChannelId.safeParse(channel))}`);
  const [cluster, ...more] = chosenClusters(config, options);
  if (cluster === undefined || more.length > 0)
    throw new UsageError(`which cluster? Give --cluster: there are ${Object.keys(config.clusters).join(', ')}.`);
  return {
    user,
    action: chosen('action', action, ACTIONS),
    cluster,
    channel,
    remedy:
      named === undefined
        ? null
        : (REMEDY_REFS.find(
            ({ id }) =>
              id ===
              chosen(
                'remedy',
                named,
                REMEDY_REFS.map((remedy) => remedy.id),
              ),
          ) ?? null),
  };
}

function chosen<T extends string>(option: string, value: string, known: readonly T[]): T {
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  const [near] = nearNames(value, known, 1);
  throw new UsageError(
    `--${option} ${value}: ${near === undefined ? `it is one of ${known.join(', ')}.` : `there is no such ${option}. Did you mean ${near}?`}`,
  );
}

function messageOf(read: { readonly error?: { readonly issues: readonly { readonly message: string }[] } | undefined }): string {
  return read.error?.issues[0]?.message ?? 'it cannot be read';
}

/** What policy says at a time. Pure. `now` is milliseconds since the epoch. */
export function explain(
  config: Pick<Config, 'access' | 'clusters' | 'remedies' | 'slack'>,
  asked: Asked,
  now: number,
): Explanation {
  const { access, remedies } = config;
  const { action, cluster, channel, user } = asked;
  const policy = policyFor(access, asked);
  const why: string[] = [];
  const also: string[] = [];
  const unknown = [
    `whether ${user} is a full member: guests, bots, deactivated users and people of other workspaces and organisations are refused, whatever any list says`,
    channel === null
      ? 'in which channel: netcheck has to be in it, and it must not be shared with other organisations unless it is listed under slack.externallySharedChannels'
      : `whether netcheck is in ${channel}, and whether that is shared with other organisations, which has to be allowed under slack.externallySharedChannels`,
  ];
  const left = channel === null ? access.rules.flatMap((rule, index) => (rule.channels === undefined ? [] : [index])) : [];
  if (left.length > 0)
    unknown.push(
      `what ${left.map((index) => `access.rules.${index}`).join(', ')} would say, being about channels: give --channel`,
    );
  const refuse = (reason: string): Explanation => ({ answer: 'refused', why: [reason], also, unknown });

  const channels = config.clusters[cluster]?.channels;
  if (channel !== null && channels !== undefined && !channels.includes(channel))
    return refuse(`${channel} does not ask about ${cluster}: clusters.${cluster}.channels lists ${channels.join(', ')}`);
  if (action !== 'diagnose' && !remedies.enabled) return refuse('remedies are switched off: remedies.enabled is false');

  const lists = listsOf(action, policy, access.breakGlass);
  if (action === 'break-glass' && !access.breakGlass.enabled)
    return refuse('the glass cannot be broken: access.breakGlass.enabled is false');
  let depends = false;
  for (const list of lists) {
    const said = isListed(list, user);
    if (said.answer === 'refused') return refuse(said.reason);
    depends ||= said.answer === 'depends';
    (said.answer === 'depends' ? unknown : why).push(said.reason);
  }
  if (action === 'request' && isNobody(policy.approve.value))
    return refuse(`nobody could approve it: ${policy.approve.from} is empty`);

  const quiet = quietAt(policy.quiet.value, now);
  if (quiet !== null && action !== 'diagnose') {
    const hours = `quiet hours, ${quietWords(quiet.window)} (${policy.quiet.from}), until ${new Date(quiet.until).toISOString()}`;
    if (action === 'approve')
      return refuse(`these are ${hours}${access.breakGlass.enabled ? ': only breaking the glass approves it' : ''}`);
    if (action === 'request' && !access.breakGlass.enabled) return refuse(`these are ${hours}`);
    also.push(`these are ${hours}: only breaking the glass approves it`);
  }
  if (action !== 'diagnose') {
    const { approvals, selfApproval } = policy;
    also.push(
      `it runs after ${approvals.value === 1 ? '1 approval' : `${approvals.value} approvals of different people`} (${approvals.from})`,
      selfApproval.value
        ? `whoever requested it may approve it, with a reason (${selfApproval.from})`
        : `whoever requested it may not approve it (${selfApproval.from})`,
    );
  }
  if (action === 'break-glass')
    also.push(
      'it takes a typed reason, is told to the whole channel, and is only for quiet hours and for what needs more approvals',
    );
  return { answer: depends ? 'depends' : 'allowed', why, also, unknown };
}

/** The lists that somebody has to be in, for what they want to do. */
function listsOf(
  action: PolicyAction,
  policy: Policy,
  { people }: Config['access']['breakGlass'],
): readonly Decided<PeopleOrMembers>[] {
  return action === 'break-glass' ? [policy.approve, { value: people, from: 'access.breakGlass.people' }] : [policy[action]];
}

function isListed(
  { value: people, from }: Decided<PeopleOrMembers>,
  user: string,
): { readonly answer: Explanation['answer']; readonly reason: string } {
  if (people === 'members') return { answer: 'allowed', reason: `${from} is "members": every full member of the workspace` };
  if (people.users.includes(user)) return { answer: 'allowed', reason: `${from}.users lists ${user}` };
  if (people.groups.length > 0)
    return {
      answer: 'depends',
      reason: `whether ${user} is in ${people.groups.join(' or ')}: ${from}.groups lists ${people.groups.length === 1 ? 'it' : 'them'}`,
    };
  const nobody = isNobody(people);
  return { answer: 'refused', reason: nobody ? `${from} is empty: nobody may` : `${from} does not list ${user}` };
}

const ANSWERS = { allowed: 'ALLOWED', refused: 'REFUSED', depends: 'DEPENDS' } as const;

function textOf(
  { user, action, cluster, channel }: Asked,
  remedies: readonly RemedyRef[],
  { answer, why, also, unknown }: Explanation,
): string {
  const what = remedies.map(({ id, riskClass }) => `${id} (${riskClass})`).join(', ');
  const head = `${ANSWERS[answer]}  ${user} ${action}${what === '' ? '' : ` ${what}`} on ${cluster}${channel === null ? '' : ` in ${channel}`}`;
  const lines = [
    ...why.map((sentence) => `  because    ${sentence}`),
    ...also.map((sentence) => `  and        ${sentence}`),
    ...unknown.map((sentence) => `  not known  ${sentence}`),
  ];
  return `${[head, ...lines].join('\n')}\n`;
}
