import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../model/text.ts';
import type { WorkerLog } from '../cluster-worker.ts';
import { createLogger } from '../log.ts';
import { UsageError } from '../usage-error.ts';
import type { DemoNetwork } from './network.ts';
import { type Cleanup, createCleanup, type Stage, setStage } from './stage.ts';
import { playStory, type StoryEnd } from './story.ts';
import { createTeller, type Screen, type Teller } from './teller.ts';

const EXIT_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/** How long what was interrupted may take to notice, in milliseconds. */
const INTERRUPTED_MS = 5000;

/**
 * `netcheck demo`: the main job on a Slack, a Redis and a network of its own. In a terminal it then serves the channel to
 * a browser until it is stopped. Returns the exit status: 0 only if the verdict was right and the network healed.
 * Whatever was started is gone when it returns.
 */
export async function demo(options: Readonly<Record<string, unknown>>): Promise<number> {
  const port = portOf(options['port']);
  const why = whyRecorded(options);
  const cleanup = createCleanup();
  const stopped = stopSignal();
  const log = createDemoLog();
  const screen = screenOf(process.stdout);
  const performing = perform({ why, screen, log: log.logger, cleanup });
  try {
    const result = await Promise.race([performing, stopped]);
    if (typeof result === 'string') return EXIT_STATUS[result];
    const { end, stage, teller } = result;
    if (end.wrong.length > 0) {
      teller.wrong(`The demo failed: ${end.wrong.join('; ')}`);
      screen.write(log.complaints().join(''));
      return 1;
    }
    if (options['headless'] === true || !screen.isTerminal) return 0;
    const { servePage } = await import('./page/server.ts');
    const page = await servePage(stage, port);
    cleanup.add(page.close);
    screen.write(`\n  The channel is at ${page.url}\n  Ctrl-C ends everything and leaves nothing behind.\n`);
    await stopped;
    return 0;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = messageOf(error);
    process.stderr.write(`netcheck: the demo failed: ${message}\n${log.complaints().join('')}`);
    return 1;
  } finally {
    await cleanup.run();
    // Interrupted in the middle, it fails as its parts are taken away, and may have started one more meanwhile.
    await Promise.race([performing.catch(() => undefined), delay(INTERRUPTED_MS, undefined, { ref: false })]);
    await cleanup.run();
  }
}

async function perform(options: {
  readonly why: string | null;
  readonly screen: Screen;
  readonly log: WorkerLog;
  readonly cleanup: Cleanup;
}): Promise<{ readonly end: StoryEnd; readonly stage: Stage; readonly teller: Teller }> {
  const { why, screen, log, cleanup } = options;
  const names = new Map<string, string>();
  const teller = createTeller(screen, (id) => names.get(id) ?? id);
  teller.chapter('netcheck demo');
  if (why !== null) teller.fact(`This plays a recording of a lab, no network is built: ${why}.`);
  const from = performance.now();
  const stage = await setStage({ createNetwork: (key) => createNetwork(why, key), cleanup, log });
  for (const [id, name] of stage.names) names.set(id, name);
  teller.fact(`${stage.network.title}; a Slack, a Redis, a bot and a worker of their own`, performance.now() - from);
  const end = await playStory(stage, teller);
  if (why !== null) teller.fact('That was a recording: its times and its packets are those of the lab that it was made in.');
  return { end, stage, teller };
}

/** A network of this machine, or the recorded one. Each loads only what it needs. */
async function createNetwork(why: string | null, approvalKey: string): Promise<DemoNetwork> {
  if (why === null) {
    const { createLabNetwork } = await import('./lab-network.ts');
    return createLabNetwork(approvalKey);
  }
  const { createRecordedNetwork, readRecording } = await import('./recording.ts');
  return createRecordedNetwork(readRecording());
}

/** Why a recording is played instead of a network, or null. */
function whyRecorded({ recording }: Readonly<Record<string, unknown>>): string | null {
  const missing = process.env['NETCHECK_LAB_MISSING'] ?? '';
  if (missing !== '') return missing;
  return recording === true ? '--recording asks for it' : null;
}

function portOf(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new UsageError(`--port ${String(value)}: it is a number from 0 to 65535 (0 for any port that is free)`);
}

function stopSignal(): Promise<keyof typeof EXIT_STATUS> {
  const { promise, resolve } = Promise.withResolvers<keyof typeof EXIT_STATUS>();
  for (const name of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(name));
  return promise;
}

function screenOf(stream: NodeJS.WriteStream): Screen {
  return {
    write: (text) => void stream.write(text),
    isTerminal: stream.isTTY ?? false,
    color: stream.hasColors?.() ?? false,
    columns: stream.columns || 100,
    rows: stream.rows ?? 24,
  };
}

/** Netcheck's own log: on standard error when `LOG_LEVEL` asks for it, else kept for the case that something fails. */
function createDemoLog(): { readonly logger: WorkerLog; readonly complaints: () => readonly string[] } {
  const kept: string[] = [];
  if (process.env['LOG_LEVEL'] !== undefined) return { logger: createLogger(process.env, process.stderr), complaints: () => [] };
  const logger = createLogger({ LOG_LEVEL: 'warn' }, { write: (line) => void kept.push(line) });
  return { logger, complaints: () => kept.slice(-20) };
}
