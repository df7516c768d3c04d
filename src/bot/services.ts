import type { Config } from '../config.ts';
import type { DigestClock } from '../jobs/digest-clock.ts';
import type { Producer } from '../jobs/producer.ts';
import type { ActionStore } from '../store/actions.ts';
import type { DigestStore } from '../store/digests.ts';
import type { HistoryStore } from '../store/history.ts';
import type { Outbox } from '../store/outbox.ts';
import type { Log } from '../store/redis.ts';
import type { RunStore } from '../store/runs.ts';
import type { WorkerStore } from '../store/workers.ts';
import type { Authorize, Self } from './authorize.ts';
import type { SlackCall } from './slack-api.ts';

/** Who works for a cluster, who carries out its remedies, and which nodes it has, as of a moment ago. */
export type Presence = Pick<WorkerStore, 'workforce' | 'nodes'> & { readonly remediators: WorkerStore['workforce'] };

/** What is kept about one cluster. */
export type ClusterStores = {
  readonly runs: RunStore;
  readonly actions: ActionStore;
  readonly digests: DigestStore;
  readonly history: HistoryStore;
  readonly presence: Presence;
};

/** A reader whose answers are good for a while: a burst of commands reads once. Failures are not remembered. */
export function fromAMomentAgo<T>(read: () => Promise<T>, ms: number): () => Promise<T> {
  let latest: { readonly until: number; readonly value: Promise<T> } | null = null;
  return () => {
    if (latest !== null && performance.now() < latest.until) return latest.value;
    const value = read();
    const entry = { until: performance.now() + ms, value };
    latest = entry;
    value.catch(() => {
      if (latest === entry) latest = null;
    });
    return value;
  };
}

/** What listeners work with. There is no way from here to Bolt's app: a listener answers by what it returns. */
export type Services = {
  readonly config: Config;
  readonly self: Self;
  readonly authorize: Authorize;
  readonly stores: (cluster: string) => ClusterStores;
  readonly outbox: Outbox;
  readonly producer: Producer;
  readonly clock: DigestClock;
  readonly call: SlackCall;
  readonly log: Log;
};
