import type { Phase, Progress } from '../../model/progress.ts';
import { type RunRequest, requestWords } from '../../model/verdict.ts';
import { button, buttons, context, type Message, section } from './blocks.ts';
import { code, joined, literal, type Mrkdwn, md, mention, plain } from './markup.ts';
import { count, duration, layerStrip, subjectOf, subjectText } from './words.ts';

/** The ids by which the bot recognises its buttons. */
export const ACTIONS = {
  cancel: 'cancel',
  request: 'request',
  approve: 'approve',
  deny: 'deny',
  undo: 'undo',
  breakGlass: 'break-glass',
  details: 'details',
  saveDigest: 'save-digest',
  dropDigest: 'drop-digest',
  history: 'history',
} as const;

/** What every message of a run says about it. `ref` is `CLUSTER/RUN`; `requestedBy` a user id, or null for netcheck. */
export type RunView = {
  readonly ref: string;
  readonly cluster: string;
  readonly request: RunRequest;
  readonly requestedBy: string | null;
};

const PHASES: Record<Phase, Mrkdwn> = {
  inventory: md`reading what the cluster consists of`,
  starting: md`reaching the agents`,
  sweep: md`probing`,
  focus: md`looking closer at what failed`,
  judging: md`judging`,
};

/** Whoever asked, in small print under every root message, with the run's id. */
export function footer(run: RunView): Mrkdwn {
  const id = run.ref.split('/')[1] ?? '';
  const by = run.requestedBy === null ? md`asked by netcheck` : md`asked by ${mention(run.requestedBy)}`;
  return joined([by, md`run ${code(id)}`], ' · ');
}

/**
 * The root message of a run that has no verdict yet. `workers` is how many workers of the cluster live, and how many
 * milliseconds ago the last one was heard of when none does (null: never).
 */
export function waitingMessage(
  run: RunView,
  state: {
    readonly progress: Progress | null;
    readonly running: boolean;
    readonly cancelling: boolean;
    readonly workers: { readonly alive: number; readonly lastSeenMs: number | null };
  },
): Message {
  const { progress } = state;
  const what = subjectOf(run.request, run.cluster);
  const head = state.cancelling
    ? md`🛑 *Stopping* the check of ${what}`
    : state.running
      ? md`⏳ *Checking* ${what}`
      : md`🕓 *Queued:* ${what}`;
  const lines: Mrkdwn[] = [head];
  if (!state.running && state.workers.alive === 0) lines.push(absence(run.cluster, state.workers.lastSeenMs));
  if (progress !== null) {
    lines.push(layerStrip(progress.layers));
    lines.push(md`${plain(`${progress.nodesReady} of ${count(progress.nodesTotal, 'node')} ready`)} · ${PHASES[progress.phase]}`);
  }
  const text = `${state.running ? 'Checking' : 'Queued:'} ${subjectText(run.request, run.cluster)}`;
  return {
    text: literal(text, 300),
    blocks: [
      section(joined(lines, '\n')),
      ...(state.cancelling ? [] : [buttons('run', [button({ action: ACTIONS.cancel, label: 'Cancel', value: run.ref })])]),
      context(footer(run)),
    ],
  };
}

/** That nobody is there to do the work, said at once. */
export function absence(cluster: string, lastSeenMs: number | null): Mrkdwn {
  const since =
    lastSeenMs === null ? md`none was ever heard of` : md`the last one was heard of ${plain(duration(lastSeenMs))} ago`;
  return md`⚠️ No worker of ${code(cluster, 70)} is alive (${since}). The check starts as soon as one is back.`;
}

/** The root message of a run that ended without a verdict. */
export function endedMessage(
  run: RunView,
  end: { readonly status: 'failed' | 'cancelled'; readonly reason: string | null; readonly by: string | null },
): Message {
  const what = subjectOf(run.request, run.cluster);
  const head =
    end.status === 'failed'
      ? md`⚪ *No verdict* on ${what}`
      : md`🛑 *Cancelled:* the check of ${what}${end.by === null ? md`` : md`, by ${mention(end.by)}`}`;
  const reason = end.reason === null || end.reason === '' ? [] : [md`${plain(end.reason, 600)}`];
  const retry = md`Nothing is known about the network from this run. Again: ${code(`/netcheck ${requestWords(run.request)}`, 350)}`;
  return {
    text: literal(
      `${end.status === 'failed' ? 'No verdict on' : 'Cancelled:'} ${subjectText(run.request, run.cluster)}${end.reason ? `: ${end.reason}` : ''}`,
      500,
    ),
    blocks: [section(joined([head, ...reason, retry], '\n')), context(footer(run))],
  };
}
