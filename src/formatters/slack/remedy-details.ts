import type { KnownBlock } from '@slack/types';
import type { Action } from '../../model/remedy.ts';
import type { ActionRecord } from '../../model/wire/action.ts';
import { context, LIMITS, preformatted, section } from './blocks.ts';
import { code, dateTime, joined, lines, type Mrkdwn, md, mention, plain } from './markup.ts';
import { placeOf, shellWords, verifiedBy } from './remedy.ts';
import { citationLine } from './verdict.ts';

/**
 * Everything that is known of a remedy that was requested, as blocks of a modal: the finding with its evidence, the exact
 * commands, the probes that verify it, the digest that is approved, the approvals, and what policy says of it.
 */
export function remedyDetails({ action, approveBy, reason, state }: ActionRecord, policy: readonly Mrkdwn[]): KnownBlock[] {
  const { finding, verification } = action;
  return [
    section(
      joined(
        [
          md`*${plain(action.title, 200)}* ${placeOf(action)}, cluster ${code(action.cluster, 70)}`,
          md`*State:* ${plain(state)}${reason === null || reason === '' ? md`` : md`: ${plain(reason, 500)}`}`,
          md`*Risk class:* ${plain(action.riskClass)}`,
        ],
        '\n',
      ),
    ),
    section(md`*Finding* ${code(finding.code, 80)}: ${plain(finding.summary, 500)}`),
    ...(finding.evidence.length === 0
      ? []
      : [section(lines(finding.evidence, (one) => md`> ${citationLine(one)}`, LIMITS.section))]),
    section(md`*Runs exactly this*, in this order:`),
    preformatted(action.commands.map(shellWords).join('\n')),
    ...(action.onFailure === undefined
      ? []
      : [section(md`*If one of these fails*, this:`), preformatted(action.onFailure.map(shellWords).join('\n'))]),
    section(md`*Verified by* ${verifiedBy(action)}.`),
    ...(verification.length === 0 ? [] : [section(lines(verification, probeLine, LIMITS.section))]),
    section(joined([md`*Policy* that applies to it:`, ...policy], '\n')),
    section(
      joined(
        [
          md`*Approvals:* ${plain(action.approvals.length)} of ${plain(action.approvalsNeeded)}`,
          ...action.approvals.map(
            ({ by, expiresAt, breakGlass }) =>
              md`• ${mention(by.user)}, holds until ${dateTime(expiresAt)}${breakGlass === undefined ? md`` : md`, *broke the glass:* ${plain(breakGlass, 500)}`}`,
          ),
          md`It may be approved until ${dateTime(approveBy)}.`,
        ],
        '\n',
      ),
    ),
    context(
      joined(
        [
          md`requested by ${mention(action.requestedBy.user)} ${dateTime(action.requestedAt)}`,
          md`action ${code(action.id)}`,
          md`run ${code(action.run)}`,
          md`digest ${code(action.digest)}`,
        ],
        ' · ',
      ),
    ),
  ];
}

function probeLine({ probe, before }: Action['verification'][number]): Mrkdwn {
  return md`• ${plain(probe, 200)}: ${plain(before.how ?? 'unknown')} ${plain(before.delivered)}/${plain(before.sent)}`;
}
