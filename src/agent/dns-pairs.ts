import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { encode, RECURSION_DESIRED } from 'dns-packet';
import type { DnsPair, DnsPairsOutcome, Operation } from '../model/wire/agent.ts';
import { killGroup, now, type Processes } from './command.ts';

type DnsPairs = Extract<Operation, { op: 'dns-pairs' }>;
type Target = DnsPairs['targets'][number];
type Pace = Pick<DnsPairs, 'pairs' | 'everyMs' | 'silentMs' | 'againMs'>;

/**
 * Asks each server for the IPv4 and the IPv6 address of a name at once, from one UDP socket as the C library does, so many
 * times and each time from a socket of its own. `enter` is the command that enters the network namespace. Never rejects.
 */
export function askInPairs(
  { targets, ...pace }: DnsPairs,
  enter: readonly string[],
  processes: Processes,
): Promise<readonly DnsPairsOutcome[]> {
  return Promise.all(
    targets.map(async (target) => ({
      id: target.id,
      pairs: await Promise.all(
        Array.from({ length: pace.pairs }, async (_, index) => {
          await sleep(index * pace.everyMs);
          return askPair(target, pace, enter, processes);
        }),
      ),
    })),
  );
}

/**
 * Both queries have the same length. socat(1) takes no more than that from its input at a time, and so sends each in a
 * datagram of its own; of an answer it hands on as much, which is the header and the question that every answer repeats.
 */
function askPair({ ip, port, name }: Target, pace: Pace, enter: readonly string[], processes: Processes): Promise<DnsPair> {
  return new Promise((resolve) => {
    const first = Math.floor(Math.random() * 65_536);
    const ids = { a: first, aaaa: (first + 1) % 65_536 };
    const queries = { a: queryFor('A', ids.a, name), aaaa: queryFor('AAAA', ids.aaaa, name) };
    const { length } = queries.a;
    const [command, ...args] = [...enter, 'socat', '-b', String(length), '-', `UDP:${ip}:${port}`];
    const child = spawn(command, args, {
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, LC_ALL: 'C' },
    });
    const { pid } = child;
    if (pid !== undefined) processes.add(pid);
    const pair: { a: number | null; aaaa: number | null; again: boolean; error: string } = {
      a: null,
      aaaa: null,
      again: false,
      error: '',
    };
    let startedMs = now();
    let rest = Buffer.alloc(0);
    let timer: NodeJS.Timeout | undefined;
    let isHalf = false;
    let isOver = false;
    const finish = (): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      if (pid !== undefined) {
        killGroup(pid);
        processes.remove(pid);
      }
      resolve(pair);
    };
    // On a starved node the timer comes late, and so may the answers: those are heard first.
    const after = (ms: number, then: () => void): void => {
      timer = setTimeout(() => setImmediate(then), ms);
    };
    const askAgain = (): void => {
      if (isOver) return;
      pair.again = true;
      child.stdin.write(pair.a === null ? queries.a : queries.aaaa);
      after(pace.silentMs, finish);
    };
    child.once('spawn', () => {
      startedMs = now();
      child.stdin.write(Buffer.concat([queries.a, queries.aaaa]));
      after(pace.silentMs, finish);
    });
    child.stdin.on('error', () => {});
    child.stdout.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (; rest.length >= length; rest = rest.subarray(length)) {
        if (!isAnswer(rest)) continue;
        const id = rest.readUInt16BE(0);
        const ms = Math.round((now() - startedMs) * 100) / 100;
        if (id === ids.a) pair.a ??= ms;
        if (id === ids.aaaa) pair.aaaa ??= ms;
      }
      if (pair.a !== null && pair.aaaa !== null) return finish();
      if (isHalf || (pair.a === null && pair.aaaa === null)) return;
      isHalf = true;
      clearTimeout(timer);
      after(pace.againMs, askAgain);
    });
    child.stderr.on('data', (text: Buffer) => {
      pair.error = (pair.error + text.toString('utf8')).slice(-200);
    });
    child.on('error', ({ message }) => {
      pair.error = message;
      finish();
    });
    child.on('close', finish);
  });
}

function queryFor(type: 'A' | 'AAAA', id: number, name: string): Buffer {
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }] });
}

/** The first bit of a DNS message's flags. Source: RFC 1035, 4.1.1. */
function isAnswer(message: Buffer): boolean {
  return (message.readUInt8(2) & 0x80) !== 0;
}
