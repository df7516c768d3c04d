import { z } from 'zod';
import { nearNames } from './model/near-names.ts';
import { own } from './model/own.ts';
import { RiskClass } from './model/remedy.ts';
import { parseTimezone } from './model/schedule.ts';
import { DAYS, minuteOf, type RemedyRef } from './policy.ts';
import { REMEDIES } from './remedies/index.ts';

export const ClusterName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    'has to be lower-case letters, digits and hyphens, at most 63, such as "prod-eu"',
  );
export const ChannelId = z
  .string()
  .regex(/^[CDG][A-Z0-9]{5,}$/, 'has to be a channel id such as "C0123456789" (not a name: open the channel\'s details)');
export const UserId = z
  .string()
  .regex(/^[UW][A-Z0-9]{5,}$/, 'has to be a user id such as "U0123456789" (not a name: open the profile, "Copy member ID")');
const GroupId = z.string().regex(/^S[A-Z0-9]{5,}$/, 'has to be a user group id such as "S0123456789"');

const People = z
  .strictObject({
    users: z.array(UserId).default([]).describe('Slack user ids.'),
    groups: z.array(GroupId).default([]).describe('Slack user group ids; everybody in one of them.'),
  })
  .describe('People: those listed, and the members of the user groups listed. Empty means nobody.');
export type People = z.infer<typeof People>;

const PeopleOrMembers = z
  .union([z.literal('members'), People])
  .describe('"members" for every full member of the workspace, or people by user id and user group id.');
export type PeopleOrMembers = z.infer<typeof PeopleOrMembers>;

const NOBODY: People = { users: [], groups: [] };

const TimeOfDay = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'has to be a time of day such as "18:30"');
const EndOfDay = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d$|^24:00$/, 'has to be a time of day such as "18:30", at most "24:00"');
const TimeZone = z.string().refine((name) => {
  const read = parseTimezone(name);
  return read.ok && read.value === name;
}, 'has to be an IANA time zone such as "Europe/Berlin"');

const QuietWindow = z.strictObject({
  days: z
    .array(z.enum(DAYS))
    .min(1)
    .default([...DAYS])
    .describe('The days on which it begins: mon, tue, wed, thu, fri, sat, sun.'),
  from: TimeOfDay.default('00:00').describe('Time of day at which it begins.'),
  to: EndOfDay.default('24:00').describe('Time of day at which it ends; one that is not after `from` is on the next day.'),
  zone: TimeZone.describe('IANA time zone on whose clocks it is read, such as Europe/Berlin.'),
});
export type QuietWindow = z.infer<typeof QuietWindow>;

const Approvals = z.int().min(1).max(2);
const Quiet = z.array(QuietWindow);

/** Selectors say what a rule is about; what is left out is about everything. The rest is what it decides. */
const AccessRule = z.strictObject({
  clusters: z.array(ClusterName).min(1).optional().describe('Only these clusters.'),
  channels: z.array(ChannelId).min(1).optional().describe('Only what is asked in these channels.'),
  remedies: z.array(z.string()).min(1).optional().describe('Only these remedies, by id.'),
  risk: z.array(RiskClass).min(1).optional().describe('Only remedies of these risk classes.'),
  diagnose: PeopleOrMembers.optional().describe('Who may start and cancel a diagnosis. Not in a rule with `remedies` or `risk`.'),
  request: PeopleOrMembers.optional().describe('Who may request a remedy.'),
  approve: People.optional().describe('Who may approve one.'),
  approvals: Approvals.optional().describe('How many different people have to approve.'),
  selfApproval: z.boolean().optional().describe('Whether whoever requested it may be one of them.'),
  quiet: Quiet.optional().describe('When it may not be approved. An empty list: at no time.'),
});
export type AccessRule = z.infer<typeof AccessRule>;

export const Access = z.strictObject({
  diagnose: PeopleOrMembers.default('members').describe('Who may start and cancel a diagnosis.'),
  request: PeopleOrMembers.default('members').describe('Who may request a remedy. Requesting changes nothing.'),
  approve: People.default(NOBODY).describe('Who may approve a remedy that somebody else requested. Empty means nobody.'),
  approvals: Approvals.default(1).describe('How many different people have to approve a remedy before it runs.'),
  selfApproval: z
    .boolean()
    .default(false)
    .describe(
      'Whether an approver may approve what they requested themselves, with a typed reason that stands out in the audit.',
    ),
  quiet: Quiet.default([]).describe('Quiet hours: when no remedy may be requested or approved, unless by breaking the glass.'),
  rules: z
    .array(AccessRule)
    .default([])
    .describe('Exceptions from the above, for some clusters, channels, remedies or risk classes. See below.'),
  breakGlass: z
    .strictObject({
      enabled: z.boolean().default(false).describe('Whether the glass can be broken at all.'),
      people: People.default(NOBODY).describe('Which of those who may approve a remedy may do so. Empty means nobody.'),
    })
    .prefault({})
    .describe(
      'Approving alone and in quiet hours, with a typed reason, told to the whole channel. It never lets anybody approve who may not, nor what they requested themselves.',
    ),
});
export type Access = z.infer<typeof Access>;

/** Every remedy that there is. */
export const REMEDY_REFS: readonly RemedyRef[] = Object.values(REMEDIES).map(({ id, riskClass }) => ({ id, riskClass }));

/** The risk class of a remedy, as this netcheck knows it: nobody else's word counts. Null for one that it does not know. */
export function riskClassOf(remedy: string): RiskClass | null {
  return own(REMEDIES, remedy)?.riskClass ?? null;
}

/** What a rule is about, and what it can decide. */
export const SELECTORS = ['clusters', 'channels', 'remedies', 'risk'] as const;
export const SETTINGS = ['diagnose', 'request', 'approve', 'approvals', 'selfApproval', 'quiet'] as const;

/** What is wrong with rules that are each well formed: where, as a path from `access`, and what. */
export function accessProblems(
  access: Access,
  clusters: readonly string[],
): readonly { readonly path: readonly (string | number)[]; readonly message: string }[] {
  const problems: { readonly path: readonly (string | number)[]; readonly message: string }[] = [];
  const add = (path: readonly (string | number)[], message: string): void => {
    problems.push({ path, message });
  };
  const known = { clusters, remedies: Object.keys(REMEDIES) };
  for (const [index, rule] of access.rules.entries()) {
    const at = ['rules', index] as const;
    for (const selector of ['clusters', 'remedies'] as const) {
      for (const [item, name] of (rule[selector] ?? []).entries()) {
        if (known[selector].includes(name)) continue;
        const [near] = nearNames(name, known[selector], 1);
        const hint = near === undefined ? `there are ${known[selector].join(', ')}` : `did you mean "${near}"?`;
        add([...at, selector, item], `is no ${selector === 'clusters' ? 'configured cluster' : 'remedy'}: ${hint}`);
      }
    }
    const decided = SETTINGS.filter((setting) => rule[setting] !== undefined);
    if (decided.length === 0) add(at, `decides nothing: give it at least one of ${SETTINGS.join(', ')}`);
    if (rule.diagnose !== undefined && (rule.remedies !== undefined || rule.risk !== undefined)) {
      add([...at, 'diagnose'], 'can never apply: a diagnosis has no remedy. Put it into a rule without "remedies" and "risk"');
    }
    for (const setting of decided) {
      const first = access.rules.findIndex((other) => other[setting] !== undefined && isAboutAllOf(other, rule));
      if (first < index)
        add(
          [...at, setting],
          `never applies: access.rules.${first}.${setting} is about all of it and comes first. Move this rule up`,
        );
    }
    if (SELECTORS.every((selector) => rule[selector] === undefined))
      add(
        at,
        'is about everything: put it into "access" itself, or say which clusters, channels, remedies or risk classes it is about',
      );
  }
  for (const [path, { approve, approvals, quiet }] of [
    [[], access] as const,
    ...access.rules.map((rule, index) => [['rules', index], rule] as const),
  ]) {
    if (approvals !== undefined && approve !== undefined && approve.groups.length === 0) {
      const people = new Set(approve.users).size;
      if (people > 0 && people < approvals)
        add([...path, 'approvals'], `asks for ${approvals} people, but only ${people} may approve: list more under "approve"`);
    }
    for (const [item, { from, to }] of (quiet ?? []).entries()) {
      if (minuteOf(from) === minuteOf(to))
        add([...path, 'quiet', item], 'begins and ends at the same time: for whole days leave out "from" and "to"');
    }
  }
  if (access.breakGlass.enabled && access.breakGlass.people.users.length + access.breakGlass.people.groups.length === 0)
    add(['breakGlass'], 'is enabled, but nobody may: list "people", or leave it off');
  return problems;
}

/** Whether the first rule is about everything that the second one is about. */
function isAboutAllOf(wide: AccessRule, narrow: AccessRule): boolean {
  return SELECTORS.every((selector) => {
    const [all, some]: readonly (readonly string[] | undefined)[] = [wide[selector], narrow[selector]];
    return all === undefined || (some?.every((name) => all.includes(name)) ?? false);
  });
}
