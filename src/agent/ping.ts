import type { Evidence } from '../model/evidence.ts';
import type { Operation } from '../model/wire/agent.ts';
import { type Bounds, type Processes, runCommand } from './command.ts';

type Ping = Extract<Operation, { op: 'ping' }>;

/** A target that has answered nothing for this long is silent: it is asked in other ways as well. Milliseconds. */
export const SILENT_AFTER_MS = 300;

/** IPv4 and ICMP headers, in bytes: what fping's size does not count. */
const HEADERS = 28;

/**
 * One fping for all targets. Its replies are watched as they come and noted in `answered`, so that silence can be followed
 * up while it still waits.
 */
export function ping(
  operation: Ping,
  answered: Set<string>,
  enter: readonly string[],
  bounds: Bounds,
  processes: Processes,
): Promise<Evidence> {
  let rest = '';
  return runCommand([...enter, ...fpingArgv(operation)], bounds, processes, (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.includes(' bytes, ')) answered.add(line.slice(0, line.indexOf(' ')));
    }
  });
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
  return ['fping', ...pace, '-i1', `-b${bytes - HEADERS}`, ...(df ? ['-M'] : []), ...targets];
}
