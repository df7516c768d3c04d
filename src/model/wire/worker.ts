import { z } from 'zod';
import { defineKind } from './kind.ts';

/** A sign of life of one worker process. */
export const WorkerBeat = z.strictObject({
  id: z.string(),
  version: z.string(),
  running: z.array(z.string()),
});
export type WorkerBeat = z.infer<typeof WorkerBeat>;
export const WorkerBeatKind = defineKind({ name: 'worker heartbeat', version: 1, schema: WorkerBeat });

/** The names of a cluster's nodes, as a worker last read them. */
export const NodeNames = z.strictObject({ names: z.array(z.string()) });
export type NodeNames = z.infer<typeof NodeNames>;
export const NodeNamesKind = defineKind({ name: 'node names', version: 1, schema: NodeNames });
