import type { Evidence } from '../model/evidence.ts';
import type { Operation } from '../model/wire/agent.ts';
import { type Bounds, type Processes, runCommand } from './command.ts';

type Ping = Extract<Operation, { op: 'ping' }>;

/** A target on the link that has answered nothing for this long is asked by ARP as well, in milliseconds. */
const ASK_BY_ARP_AFTER_MS = 300;

/** At most this many targets are asked by ARP: a node that is cut off needs a few answers, not hundreds. */
const MAX_ARP = 8;

/** IPv4 and ICMP headers, in bytes: what fping's size does not count. */
const HEADERS = 28;

/** Evidence of the ping itself and, filed by target, of each `arping` that its silence led to. */
export type PingEvidence = { readonly ping: Evidence; readonly arp: ReadonlyMap<string, Evidence> };

/** One fping for all targets. Its replies are watched as they come, so that silence is followed up while it still waits. */
export async function ping(operation: Ping, bounds: Bounds, processes: Processes): Promise<PingEvidence> {
  const answered = new Set<string>();
  const arp = new Map<string, Evidence>();
  const asked: Promise<void>[] = [];
  let rest = '';
  const timer = setTimeout(() => {
    const { dev, targets } = operation.arp ?? { dev: '', targets: [] };
    for (const ip of targets.filter((target) => !answered.has(target)).slice(0, MAX_ARP)) {
      const argv = ['arping', '-c', '2', '-w', '1', '-I', dev, ip];
      asked.push(runCommand(argv, bounds, processes).then((evidence) => void arp.set(ip, evidence)));
    }
  }, ASK_BY_ARP_AFTER_MS);
  const evidence = await runCommand(fpingArgv(operation), bounds, processes, (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.includes(' bytes, ')) answered.add(line.slice(0, line.indexOf(' ')));
    }
  });
  clearTimeout(timer);
  await Promise.all(asked);
  return { ping: evidence, arp };
}

/** fping(8): `-i` is the pause between any two packets, `-p` the period of one target, both in milliseconds. */
function fpingArgv({ count, everyMs, timeoutMs, bytes, df, targets }: Ping): readonly string[] {
  return [
    'fping',
    `-c${count}`,
    `-p${everyMs}`,
    `-t${timeoutMs}`,
    '-i1',
    `-b${bytes - HEADERS}`,
    ...(df ? ['-M'] : []),
    ...targets,
  ];
}
