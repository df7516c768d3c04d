import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { readChannel } from '../src/cli/demo/channel.ts';
import { createLabNetwork } from '../src/cli/demo/lab-network.ts';
import { createRecordedNetwork, type Recording, readRecording, writeRecording } from '../src/cli/demo/recording.ts';
import { createCleanup, type Stage, setStage } from '../src/cli/demo/stage.ts';
import { playStory, type StoryEnd } from '../src/cli/demo/story.ts';
import { createTeller } from '../src/cli/demo/teller.ts';
import { createActionStore } from '../src/store/actions.ts';
import { readAudit } from '../src/store/audit.ts';
import { textOf } from '../test/slack.ts';
import { drawThread } from './draw-thread.ts';

/*
 * Plays the demo's story in a lab once and keeps what it left: the evidence of both diagnoses, which the demo replays
 * where no lab can run (src/cli/demo/recording.json.gz), and the thread as a picture for the README (docs/thread.svg).
 * Run it with `scripts/setup node scripts/record-demo.ts` when what is collected has changed; with `--picture` it plays the
 * recording there is and only draws, which is enough when what messages look like has changed.
 */

const onlyDraws = process.argv.includes('--picture');
const cleanup = createCleanup();
const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
try {
  const createNetwork = onlyDraws ? async () => createRecordedNetwork(readRecording()) : createLabNetwork;
  const stage = await setStage({ createNetwork, cleanup, log: quiet });
  const names = (id: string): string => stage.names.get(id) ?? id;
  const screen = { write: () => {}, isTerminal: false, color: false, columns: 100, rows: 24 };
  const end = await playStory(stage, createTeller(screen, names));
  if (end.wrong.length > 0) throw new Error(`the story went wrong, nothing was recorded: ${end.wrong.join('; ')}`);
  if (!onlyDraws) {
    const bytes = writeRecording(await recordingOf(stage, end));
    process.stdout.write(`src/cli/demo/recording.json.gz: ${Math.round(bytes / 1024)} KiB\n`);
  }
  const [thread] = await readChannel(stage);
  if (thread === undefined) throw new Error('the channel is empty');
  const card = thread.replies.find((message) => textOf(message).includes('Runs exactly this'));
  const outcome = thread.replies.find(({ text }) => text.startsWith('Healed'));
  const picture = drawThread(
    [
      { who: 'maya', says: '/netcheck cluster' },
      { blocks: thread.root.blocks, isReply: false },
      ...[card, outcome].flatMap((message) => (message === undefined ? [] : [{ blocks: message.blocks, isReply: true }])),
    ],
    names,
  );
  writeFileSync(join(import.meta.dirname, '../docs/thread.svg'), picture);
  process.stdout.write(`docs/thread.svg: ${Math.round(picture.length / 1024)} KiB\n`);
} finally {
  await cleanup.run();
}

async function recordingOf(stage: Stage, { broken, healed }: StoryEnd): Promise<Recording> {
  const [first] = (await readAudit(stage.redis, 'lab', 0)).map((line) => JSON.parse(line) as { readonly action: string });
  const action = await createActionStore(stage.redis, 'lab').get(first?.action ?? '');
  if (!action.ok || action.value?.outcome == null) throw new Error('the remedy left no outcome');
  const { before, after, undo } = action.value.outcome;
  return {
    schema: 'netcheck.demo-recording/v1',
    broken: await bundleOf(stage, broken),
    healed: await bundleOf(stage, healed),
    before,
    after,
    undo,
  };
}

async function bundleOf({ runs }: Stage, run: string): Promise<Recording['broken']> {
  const packed = await runs.bundle(run);
  if (packed === null) throw new Error(`the bundle of ${run} is not there`);
  return JSON.parse(gunzipSync(packed).toString('utf8')) as Recording['broken'];
}
