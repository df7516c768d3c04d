import { readFileSync, writeFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { z } from 'zod';
import type { AgentConnection } from '../../cluster/port.ts';
import { createReplayCluster } from '../../cluster/replay/index.ts';
import { Bundle } from '../../model/bundle.ts';
import { Citation } from '../../model/finding.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../../model/wire/frames.ts';
import { RemedyOrder, type RemedyReport } from '../../model/wire/remedy.ts';
import type { WorkerCluster } from '../cluster-worker.ts';
import { type DemoNetwork, STORY } from './network.ts';

/** What one run of the demo left: the evidence of its two diagnoses, and what the node said when it was healed. */
export const Recording = z.strictObject({
  schema: z.literal('netcheck.demo-recording/v1'),
  broken: Bundle,
  healed: Bundle,
  before: z.array(Citation),
  after: z.array(Citation),
  undo: z.array(z.array(z.string())),
});
export type Recording = z.infer<typeof Recording>;

const FILE = new URL('recording.json.gz', import.meta.url);

/** Reads the recording that comes with netcheck. */
export function readRecording(): Recording {
  return Recording.parse(JSON.parse(gunzipSync(readFileSync(FILE)).toString('utf8')));
}

/** Replaces the recording that comes with netcheck. Returns its size in bytes. */
export function writeRecording(recording: Recording): number {
  const packed = gzipSync(JSON.stringify(Recording.parse(recording)), { level: 9 });
  writeFileSync(FILE, packed);
  return packed.length;
}

/**
 * The network of a recording: broken once its fault is put in, healed when its remedy was carried out. Nothing is sent
 * anywhere; `pace` is 1 for agents that take as long as they took, 0 for agents that take no time.
 */
export function createRecordedNetwork(recording: Recording, pace = 1): DemoNetwork {
  let isBroken = false;
  const player = createReplayCluster({ current: () => (isBroken ? recording.broken : recording.healed), pace });
  const cluster: WorkerCluster = {
    ...player,
    openRemedyAgent: async (node) => ({
      ok: true,
      value: recordedRemedy(recording, node, () => {
        isBroken = false;
      }),
    }),
    read: async () => NOT_RECORDED,
    patch: async () => NOT_RECORDED,
    listPods: async () => NOT_RECORDED,
    deletePod: async () => NOT_RECORDED,
    writeEvent: async () => NOT_RECORDED,
  };
  return {
    title: `a recording of a lab of ${recording.broken.inventory.nodes.length} nodes`,
    cluster: null,
    openCluster: () => ({ ok: true, value: cluster }),
    faults: [{ name: STORY.fault, title: 'the fault of the recording' }],
    active: () => (isBroken ? [STORY.fault] : []),
    async inject() {
      isBroken = true;
      return `as recorded: ip_forward is 0, ${STORY.file} says so and was loaded, on ${STORY.node}`;
    },
    async heal() {
      isBroken = false;
    },
    async unreachable() {
      return isBroken ? [`pods of ${STORY.node}, as recorded`] : [];
    },
    proof: 'not pinged: this is a recording',
    close: () => player.close(),
  };
}

const NOT_RECORDED = { ok: false, fault: { kind: 'invalid', message: 'of objects nothing was recorded' } } as const;

/** A node that says to an approved action what the recorded one said. */
function recordedRemedy({ before, after, undo }: Recording, node: string, onDone: () => void): AgentConnection {
  const output = new PassThrough();
  const ended = Promise.withResolvers<null>();
  const frames = createFrameReader(MAX_FRAME_BYTES);
  const say = (report: RemedyReport): void => void output.write(encodeFrame(report));
  say({ type: 'ready', node });
  return {
    output,
    ended: ended.promise,
    write(chunk) {
      const values = frames.push(chunk);
      if ('kind' in values || values.length === 0) return;
      if (RemedyOrder.safeParse(values[0]).success) {
        say({ type: 'claimed' });
        say({ type: 'acting', before });
        onDone();
        say({ type: 'done', before, after, error: null, undo });
      } else say({ type: 'refused', reason: 'the order is not one that this version understands', before: [] });
      output.end();
      ended.resolve(null);
    },
    close() {
      output.end();
      ended.resolve(null);
    },
  };
}
