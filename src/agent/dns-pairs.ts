import { setTimeout as sleep } from 'node:timers/promises';
import { encode, RECURSION_DESIRED } from 'dns-packet';
import type { DnsPair, DnsPairsOutcome, Operation } from '../model/wire/agent.ts';
import { now } from './command.ts';
import { connectUdp } from './transport.ts';

type DnsPairs = Extract<Operation, { op: 'dns-pairs' }>;
type Target = DnsPairs['targets'][number];
type Pace = Pick<DnsPairs, 'pairs' | 'everyMs' | 'silentMs' | 'againMs'>;

/**
 * Asks each server for the IPv4 and the IPv6 address of a name at once, from one UDP socket as the C library does, so many
 * times and each time from a socket of its own. Never rejects.
 */
export function askInPairs({ targets, ...pace }: DnsPairs): Promise<readonly DnsPairsOutcome[]> {
  return Promise.all(
    targets.map(async (target) => ({
      id: target.id,
      pairs: await Promise.all(
        Array.from({ length: pace.pairs }, async (_, index) => {
          await sleep(index * pace.everyMs);
          return askPair(target, pace);
        }),
      ),
    })),
  );
}

function askPair({ name, ...to }: Target, pace: Pace): Promise<DnsPair> {
  return new Promise((resolve) => {
    const first = Math.floor(Math.random() * 65_536);
    const ids = { a: first, aaaa: (first + 1) % 65_536 };
    const queries = { a: queryFor('A', ids.a, name), aaaa: queryFor('AAAA', ids.aaaa, name) };
    const pair: { a: number | null; aaaa: number | null; again: boolean; error: string } = {
      a: null,
      aaaa: null,
      again: false,
      error: '',
    };
    let startedMs = now();
    let timer: NodeJS.Timeout | undefined;
    let isHalf = false;
    let isOver = false;
    const finish = (): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      socket.close();
      resolve(pair);
    };
    // On a starved node the timer comes late, and so may the answers: those are heard first.
    const after = (ms: number, then: () => void): void => {
      timer = setTimeout(() => setImmediate(then), ms);
    };
    const askAgain = (): void => {
      if (isOver) return;
      pair.again = true;
      socket.send(pair.a === null ? queries.a : queries.aaaa);
      after(pace.silentMs, finish);
    };
    const onMessage = (message: Buffer): void => {
      if (!isAnswer(message)) return;
      const id = message.readUInt16BE(0);
      const ms = Math.round((now() - startedMs) * 100) / 100;
      if (id === ids.a) pair.a ??= ms;
      if (id === ids.aaaa) pair.aaaa ??= ms;
      if (pair.a !== null && pair.aaaa !== null) return finish();
      if (isHalf || (pair.a === null && pair.aaaa === null)) return;
      isHalf = true;
      clearTimeout(timer);
      after(pace.againMs, askAgain);
    };
    const onError = ({ message }: Error): void => {
      if (!isOver) pair.error = message;
      finish();
    };
    const socket = connectUdp(to, { onMessage, onError }, () => {
      startedMs = now();
      socket.send(queries.a);
      socket.send(queries.aaaa);
      after(pace.silentMs, finish);
    });
  });
}

function queryFor(type: 'A' | 'AAAA', id: number, name: string): Buffer {
  return encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }] });
}

const HEADER_BYTES = 12;

/** The first bit of a DNS message's flags. Source: RFC 1035, 4.1.1. */
function isAnswer(message: Buffer): boolean {
  return message.length >= HEADER_BYTES && (message.readUInt8(2) & 0x80) !== 0;
}
