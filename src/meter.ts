import type { AgentFault } from './model/evidence.ts';
import type { Phase } from './model/progress.ts';
import type { Verdict } from './model/verdict.ts';

/** What the rooms tell of their work, for whoever counts it. Durations are seconds. */
export type Meter = {
  /** A run ended: with a verdict, or without one (`failed`, `cancelled`, `handed-back`). */
  readonly run: (cluster: string, outcome: 'finished' | 'failed' | 'cancelled' | 'handed-back') => void;
  readonly phase: (cluster: string, phase: Phase, seconds: number) => void;
  readonly verdict: (cluster: string, verdict: Verdict) => void;
  /** An agent could not be used, or not to the end. */
  readonly agentFault: (cluster: string, kind: AgentFault['kind']) => void;
  readonly remedy: (cluster: string, remedy: string, outcome: string) => void;
  readonly slackCall: (method: string, result: string, seconds: number) => void;
};

/** Counts nothing. */
export const NO_METER: Meter = {
  run: () => undefined,
  phase: () => undefined,
  verdict: () => undefined,
  agentFault: () => undefined,
  remedy: () => undefined,
  slackCall: () => undefined,
};

/** A queue of one cluster: jobs that wait, that are worked on, and how long the oldest waiting one has waited, in seconds. */
export type QueueState = {
  readonly cluster: string;
  readonly queue: string;
  readonly waiting: number;
  readonly active: number;
  readonly oldestSeconds: number;
};
