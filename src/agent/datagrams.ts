import { createSocket, type Socket } from 'node:dgram';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DatagramCounts, Listening, SendOutcome } from '../model/wire/agent.ts';

/** Counts tagged datagrams for as long as the agent lives. */
export type Listener = {
  readonly ports: Listening;
  /** The counts, once no datagram has come in for a moment: some may still be on their way or in the socket's queue. */
  readonly heard: () => Promise<DatagramCounts>;
  readonly close: () => void;
};

/** Without a datagram for this long all that will come has come; but it is not waited for longer than the second. */
const QUIET_MS = 30;
const MOST_WAIT_MS = 300;

/** Opens a socket on every address, on a port that the kernel picks. Only datagrams with the token count. */
export async function listen(token: string): Promise<Listener> {
  const counts: Record<string, number> = {};
  let lastAt = 0;
  const socket = createSocket('udp4');
  socket.on('message', (message) => {
    const [marker, id] = message.toString('latin1').split(' ', 2);
    if (marker !== token || id === undefined) return;
    counts[id] = (counts[id] ?? 0) + 1;
    lastAt = performance.now();
  });
  const udp = await bound(socket);
  return {
    ports: { udp },
    async heard() {
      const until = performance.now() + MOST_WAIT_MS;
      // The socket's queue is emptied between two turns of the event loop.
      do await sleep(QUIET_MS);
      while (performance.now() - lastAt < QUIET_MS && performance.now() < until);
      return { ...counts };
    },
    close() {
      socket.close();
    },
  };
}

function bound(socket: Socket): Promise<number> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind({ port: 0, address: '0.0.0.0' }, () => resolve(socket.address().port));
  });
}

/** Sends `count` datagrams to each target, a round of one to each every `everyMs`. Says how many the kernel took. */
export async function send(
  token: string,
  targets: readonly { readonly id: string; readonly ip: string; readonly port: number }[],
  count: number,
  everyMs: number,
): Promise<SendOutcome> {
  const outcome: { sent: Record<string, number>; errors: Record<string, string> } = { sent: {}, errors: {} };
  const socket = createSocket('udp4');
  for (let round = 0; round < count; round += 1) {
    if (round > 0) await sleep(everyMs);
    await Promise.all(
      targets.map(
        ({ id, ip, port }) =>
          new Promise<void>((resolve) => {
            socket.send(`${token} ${id} ${round}`, port, ip, (error) => {
              if (error === null) outcome.sent[id] = (outcome.sent[id] ?? 0) + 1;
              else outcome.errors[id] = (error as NodeJS.ErrnoException).code ?? error.message;
              resolve();
            });
          }),
      ),
    );
  }
  socket.close();
  return outcome;
}
