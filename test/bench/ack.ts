import { Agent, request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { startChild } from '../chaos/child.ts';
import { acceptedRun } from '../chaos/count.ts';
import { freePort } from '../redis.ts';
import { createHands, signed } from '../slack.ts';
import { createWorld } from '../world.ts';

const WARM_UP = 3;

/** How long the bot took to answer commands, in milliseconds, as whoever types them sees it. */
export type AckTimes = {
  readonly commands: number;
  readonly concurrent: number;
  readonly accepted: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
};

/**
 * Types many commands, so many at once, and measures the time until each is acknowledged as queued: stored in a real
 * Redis that syncs every write, by a bot in a process of its own, for people of whom Slack is asked first. Between the
 * bursts there is a pause of `pauseMs`.
 */
export async function benchAck(size: {
  readonly bursts: number;
  readonly concurrent: number;
  readonly pauseMs: number;
}): Promise<AckTimes> {
  const commands = size.bursts * size.concurrent;
  const users = Array.from({ length: 20 }, (_, index) => `user-${index}`);
  const channels = Array.from({ length: 10 }, (_, index) => `ch-${index}`);
  const world = await createWorld({
    users: Object.fromEntries(users.map((name) => [name, {}])),
    channels: Object.fromEntries(channels.map((name) => [name, {}])),
    config: () => ({ limits: { runsPerUser: 100_000, runsPerCluster: 100_000 } }),
  });
  const port = await freePort();
  const { slack } = world.config;
  if (slack === null) throw new Error('no Slack');
  // Messages go out as slowly as Slack takes them, all the while.
  const bot = await startChild('bot', { ...world.config, slack: { ...slack, port } }, {});
  try {
    const { commandBody } = createHands(world.slack, port);
    // The one who measures shares the machine: connections stand and requests are signed before the clock starts.
    const agent = new Agent({ keepAlive: true, maxSockets: size.concurrent });
    const type = (text: string, index: number): (() => Promise<{ readonly text: string; readonly ms: number }>) => {
      const body = commandBody(text, {
        user: users[index % users.length] ?? '',
        channel: channels[index % channels.length] ?? '',
      });
      const headers = { ...signed(body), 'content-length': String(Buffer.byteLength(body)) };
      return () => send(agent, port, headers, body);
    };
    await Promise.all(Array.from({ length: size.concurrent }, (_, index) => type('help', index)()));
    const times: number[] = [];
    let accepted = 0;
    // The first bursts only warm the bot up: one that has just started is not what is measured.
    for (let burst = -WARM_UP; burst < size.bursts; burst += 1) {
      const typed = Array.from({ length: size.concurrent }, (_, index) => type(`node node-${burst + WARM_UP}-${index}`, index));
      const answers = await Promise.all(typed.map((go) => go()));
      await delay(size.pauseMs);
      if (burst < 0) continue;
      times.push(...answers.map(({ ms }) => ms));
      accepted += answers.filter(({ text }) => acceptedRun(text) !== null).length;
    }
    agent.destroy();
    times.sort((a, b) => a - b);
    const at = (part: number): number =>
      Math.round((times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0) * 10) / 10;
    return { commands, concurrent: size.concurrent, accepted, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
  } finally {
    await bot.close();
    await world.close();
  }
}

/** Sends one request; the time runs from its last byte out to the answer's last byte in. */
function send(
  agent: Agent,
  port: number,
  headers: Record<string, string>,
  body: string,
): Promise<{ readonly text: string; readonly ms: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ readonly text: string; readonly ms: number }>();
  const from = performance.now();
  const outgoing = request({ agent, port, host: '127.0.0.1', method: 'POST', path: '/slack/events', headers }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => {
      const ms = performance.now() - from;
      const read = z.object({ text: z.string() }).safeParse(JSON.parse(Buffer.concat(chunks).toString('utf8')));
      resolve({ text: read.success ? read.data.text : '', ms });
    });
  });
  outgoing.on('error', reject);
  outgoing.end(body);
  return promise;
}
