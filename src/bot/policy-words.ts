import type { Access, PeopleOrMembers } from '../access.ts';
import { code, groupMention, joined, type Mrkdwn, md, mention, plain } from '../formatters/slack/markup.ts';
import type { CardPolicy } from '../formatters/slack/remedy.ts';
import { count } from '../formatters/slack/words.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import { type Decided, isNobody, type Policy, policyFor, quietAt, quietWords } from '../policy.ts';

const NAMED = 20;

/** What policy says of an action, for its card. `now` is milliseconds. */
export function cardPolicy(access: Access, { action, channel }: ActionRecord, now: number): CardPolicy {
  const remedy = { id: action.remedy, riskClass: action.riskClass };
  const policy = policyFor(access, { cluster: action.cluster, channel, remedy });
  const quiet = quietAt(policy.quiet.value, now);
  const isHindered = quiet !== null || action.approvalsNeeded - action.approvals.length > 1;
  return {
    approvers: policy.approve.value,
    selfApproval: policy.selfApproval.value,
    quiet: quiet === null ? null : { words: quietWords(quiet.window), until: quiet.until },
    breakGlass: access.breakGlass.enabled && isHindered,
  };
}

/** What applies to a remedy, a line for each setting, with where it stands in netcheck.yaml. */
export function policyLines(policy: Policy, { breakGlass }: Pick<Access, 'breakGlass'>): readonly Mrkdwn[] {
  const own = policy.selfApproval.value ? md`also whoever requested it, with a reason` : md`but not whoever requested it`;
  const quiet = policy.quiet.value.map((window) => plain(quietWords(window), 200));
  const windows = quiet.length === 0 ? [md`none`] : quiet.slice(0, NAMED).map((words) => md`${words}`);
  return [
    md`*May request it:* ${peopleWords(policy.request.value)}${from(policy.request)}`,
    md`*May approve it:* ${peopleWords(policy.approve.value)}${from(policy.approve)}, ${own}${from(policy.selfApproval)}`,
    md`*Needs:* ${plain(count(policy.approvals.value, 'approval'))}${from(policy.approvals)}`,
    md`*Quiet hours:* ${joined(windows, ', ')}${from(policy.quiet)}`,
    breakGlass.enabled
      ? md`*May break the glass:* ${peopleWords(breakGlass.people)} of those who may approve it (${code('access.breakGlass')})`
      : md`*Breaking the glass:* not allowed (${code('access.breakGlass')})`,
  ];
}

/** People in words; in a message each of them is notified. */
export function peopleWords(people: PeopleOrMembers): Mrkdwn {
  if (people === 'members') return md`every full member of the workspace`;
  if (isNobody(people)) return md`nobody`;
  const all = [...people.users.map(mention), ...people.groups.map(groupMention)];
  const left = all.length - NAMED;
  return md`${joined(all.slice(0, NAMED), ', ')}${left > 0 ? md` and ${plain(left)} more` : md``}`;
}

function from({ from: path }: Decided<unknown>): Mrkdwn {
  return md` (${code(path)})`;
}
