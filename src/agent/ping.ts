import type { Evidence } from '../model/evidence.ts';
import type { Operation } from '../model/wire/agent.ts';
import { type Bounds, type Processes, runCommand } from './command.ts';

type Ping = Extract<Operation, { op: 'ping' }>;

/** A target that has not answered so long after it could have is silent: it is asked in other ways as well. Milliseconds. */
const SILENT_AFTER_MS = 200;

/** The pause between any two packets, in milliseconds. */
const GAP_MS = 1;

/**
 * What is known of the pings of the agent's network namespace: the targets that have answered, and when those that have
 * not may be called silent. On a starved node that is late: counted from the first reply, not from when it was asked for.
 */
export type Pings = { readonly answered: Set<string>; silence: Promise<void> };

export function createPings(): Pings {
  return { answered: new Set(), silence: Promise.resolve() };
}

/** IPv4 and ICMP headers, in bytes: what fping's size does not count. */
const HEADERS = 28;

/**
 * One fping for all targets. Its replies are watched as they come and noted in `pings`, so that silence can be followed up
 * while it still waits.
 */
export function ping(operation: Ping, pings: Pings, bounds: Bounds, processes: Processes): Promise<Evidence> {
  let rest = '';
  const silence = Promise.withResolvers<void>();
  let timer: NodeJS.Timeout | undefined;
  if (operation.until === 'sent') pings.silence = silence.promise;
  const onOutput = (text: string): void => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (!line.includes(' bytes, ')) continue;
      pings.answered.add(line.slice(0, line.indexOf(' ')));
      timer ??= setTimeout(silence.resolve, operation.targets.length * GAP_MS + SILENT_AFTER_MS);
    }
  };
  const ended = runCommand(fpingArgv(operation), bounds, processes, { onOutput });
  void ended.then(() => {
    clearTimeout(timer);
    silence.resolve();
  });
  return ended;
}

/**
 * fping(8): `-i` is the pause between any two packets, `-p` the period of one target, both in milliseconds; with `-r` and
 * no `-c` a target is asked again only while it has not answered.
 */
function fpingArgv({ count, everyMs, timeoutMs, bytes, df, until, targets }: Ping): readonly string[] {
  const pace =
    until === 'sent'
      ? [`-c${count}`, `-p${everyMs}`, `-t${timeoutMs}`]
      : [`-r${count - 1}`, '-B1', `-t${Math.floor(timeoutMs / count)}`];
  return ['fping', ...pace, `-i${GAP_MS}`, `-b${bytes - HEADERS}`, ...(df ? ['-M'] : []), ...targets];
}
