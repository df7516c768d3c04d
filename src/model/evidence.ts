import { z } from 'zod';

/** Why an operation on a node gave no complete result. */
export const EvidenceFault = z.enum(['timeout', 'not-found', 'denied', 'killed', 'failed']);
export type EvidenceFault = z.infer<typeof EvidenceFault>;

/**
 * What one operation on a node returned, untouched. `argv` is what ran (for a read, `cat` and the files; for probes that
 * the agent sends itself, their name and parameters); `exitCode` is null when the process never ended by itself; output
 * is cut at the operation's cap, and `truncated` says so. Times are milliseconds on the node's own clock since the
 * agent started.
 */
export const Evidence = z.strictObject({
  argv: z.array(z.string()),
  exitCode: z.number().int().nullable(),
  stdout: z.string(),
  stderr: z.string(),
  truncated: z.boolean(),
  fault: EvidenceFault.optional(),
  startedMs: z.number(),
  durationMs: z.number(),
});
export type Evidence = z.infer<typeof Evidence>;

/** Why a node has no evidence, or only a part of it. */
export const AgentFault = z.strictObject({
  kind: z.enum(['no-agent', 'unreachable', 'forbidden', 'dropped', 'timeout', 'protocol', 'cancelled']),
  message: z.string(),
});
export type AgentFault = z.infer<typeof AgentFault>;

/**
 * All that was collected on one node in one run. `items` is keyed by what was asked (a reading's command, or a
 * group of probes), with `@before` and `@after` where it was asked twice. `fault` is present when the agent could not be used to the end.
 */
export const NodeEvidence = z.strictObject({
  node: z.string(),
  agentVersion: z.string().optional(),
  readyMs: z.number().optional(),
  items: z.record(z.string(), Evidence),
  fault: AgentFault.optional(),
});
export type NodeEvidence = z.infer<typeof NodeEvidence>;
