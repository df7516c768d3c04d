import { Redis } from 'ioredis';
import { createOutbox } from '../../src/store/outbox.ts';
import { createRunStore } from '../../src/store/runs.ts';
import type { TestMessage, TestSlack } from '../slack.ts';
import { until } from '../until.ts';

/** What became of accepted runs, as somebody sees it who looks at Slack. All lists are empty when all is well. */
export type Tally = {
  readonly accepted: number;
  /** Runs of which Slack shows no end: neither a verdict nor a failure nor a cancellation. */
  readonly missing: string[];
  /** Runs with more than one message in the channel. */
  readonly doubleRoots: string[];
  /** Replies that a thread shows twice, or that it lacks. */
  readonly doubleReplies: string[];
  readonly missingReplies: string[];
};

/** Waits until everything is said, then counts. `replies` is how many replies a finished run has. */
export async function tally(
  world: { readonly slack: TestSlack; readonly redis: { readonly url: string } },
  accepted: readonly string[],
  channels: readonly string[],
  replies: number,
  withinMs: number,
): Promise<Tally> {
  const redis = new Redis(world.redis.url);
  const runs = createRunStore(redis, 'lab');
  const outbox = createOutbox(redis);
  try {
    await until(
      async () =>
        (await runs.active()).length === 0 && (await redis.zcard('nc:lab:untold')) === 0 && (await outbox.unsettled()) === 0,
      'everything to be said',
      withinMs,
    );
  } finally {
    redis.disconnect();
  }
  const roots = new Map<string, { readonly channel: string; readonly message: TestMessage }[]>();
  for (const channel of channels) {
    for (const message of await world.slack.messages(channel)) {
      const run = message.metadata?.event_payload.run.split('/')[1] ?? 'unmarked';
      roots.set(run, [...(roots.get(run) ?? []), { channel, message }]);
    }
  }
  const result: Tally = { accepted: accepted.length, missing: [], doubleRoots: [], doubleReplies: [], missingReplies: [] };
  for (const run of accepted) {
    const shown = roots.get(run) ?? [];
    if (shown.length > 1) result.doubleRoots.push(run);
    const root = shown[0];
    if (root === undefined || !/^(🔴|🟠|🟢|⚪|No verdict|Cancelled)/u.test(root.message.text)) {
      result.missing.push(`${run}: ${root?.message.text ?? 'no message'}`);
      continue;
    }
    const steps = (await world.slack.thread(root.channel, root.message.ts))
      .slice(1)
      .map((message) => message.metadata?.event_payload.step ?? '?');
    if (new Set(steps).size < steps.length) result.doubleReplies.push(`${run}: ${steps.join(' ')}`);
    if (root.message.text.startsWith('🔴') && new Set(steps).size < replies)
      result.missingReplies.push(`${run}: ${steps.join(' ')}`);
  }
  return result;
}

/** The id of the run that an answer says was accepted, or null when it says that none was. */
export function acceptedRun(text: string): string | null {
  return /^Queued: .*\(run `(r\w+)`\)/.exec(text)?.[1] ?? null;
}
