import { setTimeout as delay } from 'node:timers/promises';
import type { TestMessage } from '../../../test/slack.ts';
import { CHANNEL, type Stage } from './stage.ts';
import type { ToldMessage } from './teller.ts';

const LOOK_MS = 100;

/** A message of the channel with its replies, oldest first. */
export type Thread = { readonly root: TestMessage; readonly replies: readonly TestMessage[] };

/** The channel as Slack has it now: its latest threads, oldest first. */
export async function readChannel({ slack }: Pick<Stage, 'slack'>, most = 20): Promise<readonly Thread[]> {
  const roots = (await slack.messages(CHANNEL)).slice(-most);
  return Promise.all(
    roots.map(async (root) => ({
      root,
      replies: (await slack.thread(CHANNEL, root.ts)).filter(({ ts }) => ts !== root.ts),
    })),
  );
}

/** Tells everything that appears or changes in the channel, in order, until it is stopped. `look` looks at once. */
export function followChannel(
  stage: Pick<Stage, 'slack'>,
  tell: (message: ToldMessage) => void,
): { readonly look: () => Promise<void>; readonly stop: () => Promise<void> } {
  const stopping = new AbortController();

  let latest: Promise<void> = Promise.resolve();

  async function tellAll(): Promise<void> {
    for (const { root, replies } of await readChannel(stage)) {
      tell(told(root, false));
      for (const reply of replies) tell(told(reply, true));
    }
  }

  /** One look after the other: the story is told in order. */
  function look(): Promise<void> {
    latest = latest.then(tellAll);
    return latest;
  }

  async function follow(): Promise<void> {
    while (!stopping.signal.aborted) {
      await look();
      await delay(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    // What came since the last look belongs to the story as well.
    await look();
  }

  const following = follow();
  // Whoever stops it is told of a failure; until then nobody waits for it.
  following.catch(() => undefined);
  return {
    look,
    stop: async () => {
      stopping.abort();
      await following;
    },
  };
}

function told(message: TestMessage, inThread: boolean): ToldMessage {
  return { ts: message.ts, author: 'netcheck', isApp: true, inThread, blocks: message.blocks };
}
