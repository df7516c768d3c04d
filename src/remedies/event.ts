import type { ClusterEvent } from '../cluster/port.ts';
import type { Action, RemedyOutcome } from '../model/remedy.ts';
import { oneLine, shorten } from '../model/text.ts';

/** How long the message of an Event may be (`kubectl describe` shows it in one line). */
const LONGEST = 1_000;

const WORDS: Readonly<Record<RemedyOutcome['outcome'], string>> = {
  healed: 'it ran, and what was found is mended',
  'not-healed': 'it ran, and did not heal',
  undone: 'the state from before is back',
  'not-undone': 'it ran, and the state from before is not back',
  refused: 'refused, nothing was changed',
  'outcome-unknown': 'whether it ran is not known',
};

/** What the cluster itself is told of an action that has ended: on the node it was for, or on the cluster as a whole. */
export function eventOf(action: Action, { outcome, reason }: RemedyOutcome): ClusterEvent {
  const { id, run, remedy, target, requestedBy, digest, approvals } = action;
  const approvers = approvals.map((approval) => approval.by.user);
  const by = `requested by ${requestedBy.user}, approved by ${approvers.join(' and ')}`;
  const why = reason === null ? '' : `: ${oneLine(reason)}`;
  return {
    name: `netcheck.${id}`,
    node: target.node === null ? null : { name: target.node, uid: target.uid },
    isGood: outcome === 'healed' || outcome === 'undone',
    reason: `Remedy${outcome
      .split('-')
      .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
      .join('')}`,
    message: shorten(
      `netcheck ${remedy} (action ${id} of run ${run}), ${by}, digest ${digest.slice(0, 12)}: ${WORDS[outcome]}${why}`,
      LONGEST,
    ),
  };
}
