import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Exchange, ExchangeOutcome } from '../model/wire/agent.ts';
import { dialogueOf } from './dialogue.ts';
import { attemptOnce, TIMED_OUT } from './transport.ts';

/** When and how often an exchange is tried; milliseconds. */
export type Pace = {
  readonly attempts: number;
  readonly everyMs: number;
  readonly timeoutMs: number;
  readonly until: 'sent' | 'answered';
};

type Attempt = { readonly result: string; readonly detail: string; readonly ms: number };

/** So many exchanges are begun before what has come in meanwhile is heard. */
const BURST = 8;

/**
 * Tries each exchange, all of them side by side. A further attempt, each from a fresh source port, starts every `everyMs` as
 * long as nothing has been answered: one lost SYN is not a dead path. An error that the other side or the kernel
 * answered with ends it.
 */
export async function runExchanges(exchanges: readonly Exchange[], pace: Pace): Promise<readonly ExchangeOutcome[]> {
  const running: Promise<ExchangeOutcome>[] = [];
  for (const exchange of exchanges) {
    if (running.length % BURST === BURST - 1) await nextTurn();
    running.push(pace.until === 'sent' ? runEvery(exchange, pace) : runExchange(exchange, pace));
  }
  return Promise.all(running);
}

function runExchange(exchange: Exchange, pace: Pace): Promise<ExchangeOutcome> {
  return new Promise((resolve) => {
    let started = 0;
    let ended = 0;
    let last: Attempt = { ...TIMED_OUT, ms: pace.timeoutMs };
    let settled = false;
    let timer: NodeJS.Timeout | undefined;

    const settle = (answered: number): void => {
      if (settled) return;
      settled = true;
      clearTimeout(timer);
      resolve({ id: exchange.id, attempts: started, answered, ...last });
    };
    const tryOnce = (): void => {
      if (settled) return;
      started += 1;
      // On a starved node the timer comes late, and so may the answer: that one is heard first.
      if (started < pace.attempts) timer = setTimeout(() => setImmediate(tryOnce), pace.everyMs);
      void attempt(exchange, pace.timeoutMs).then((outcome) => {
        ended += 1;
        if (settled) return;
        last = outcome;
        if (outcome.result !== TIMED_OUT.result) settle(1);
        else if (ended === pace.attempts) settle(0);
      });
    };
    tryOnce();
  });
}

/** Tries an exchange so many times, each for itself; tells the first that was not answered well, if one was not. */
async function runEvery(exchange: Exchange, { attempts, everyMs, timeoutMs }: Pace): Promise<ExchangeOutcome> {
  const outcomes = await Promise.all(
    Array.from({ length: attempts }, async (_, index) => {
      await sleep(index * everyMs);
      return attempt(exchange, timeoutMs);
    }),
  );
  const good = outcomes.filter(({ result }) => result === 'ok');
  const told = outcomes.find(({ result }) => result !== 'ok') ?? good[0];
  return { id: exchange.id, attempts, answered: good.length, ...(told ?? { ...TIMED_OUT, ms: timeoutMs }) };
}

/** One attempt; never rejects. */
async function attempt(exchange: Exchange, timeoutMs: number): Promise<Attempt> {
  const start = performance.now();
  const answer = await attemptOnce(exchange, dialogueOf(exchange), timeoutMs);
  return { ...answer, ms: Math.round((performance.now() - start) * 100) / 100 };
}
