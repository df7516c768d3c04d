/**
 * What fping(8) said of one target. `error` is the ICMP error that came back for it, `from` who sent that; round-trip
 * times are milliseconds.
 */
export type PingLine = {
  readonly sent: number;
  readonly received: number;
  readonly rtt: { readonly min: number; readonly avg: number; readonly max: number } | null;
  readonly error: { readonly text: string; readonly from: string } | null;
};

const SUMMARY = /^(\S+)\s*: xmt\/rcv\/%(?:loss|return) = (\d+)\/(\d+)\/\d+%(?:, min\/avg\/max = ([\d.]+)\/([\d.]+)\/([\d.]+))?$/;
const ALIVE = /^(\S+) is (alive|unreachable)$/;
const ERROR = /^ICMP (.+) from (\S+) for ICMP Echo sent to (\S+)$/;

/**
 * Reads what fping says of each target: the summary of `-c` and the ICMP errors on its standard error, or, where it asks
 * up to `asked` times until it is answered (`-r`), `is alive` and `is unreachable` on its standard output.
 */
export function readFping(stdout: string, stderr: string, asked: number): ReadonlyMap<string, PingLine> {
  const errors = new Map<string, { text: string; from: string }>();
  const lines = new Map<string, PingLine>();
  for (const line of stderr.split('\n')) {
    const error = ERROR.exec(line);
    if (error !== null) {
      const [, text = '', from = '', target = ''] = error;
      errors.set(target, { text, from });
      continue;
    }
    const summary = SUMMARY.exec(line);
    if (summary === null) continue;
    const [, target = '', sent, received, min, avg, max] = summary;
    lines.set(target, {
      sent: Number(sent),
      received: Number(received),
      rtt: min === undefined ? null : { min: Number(min), avg: Number(avg), max: Number(max) },
      error: null,
    });
  }
  for (const line of stdout.split('\n')) {
    const [, target, state] = ALIVE.exec(line) ?? [];
    if (target === undefined) continue;
    const isAlive = state === 'alive';
    lines.set(target, { sent: isAlive ? 1 : asked, received: isAlive ? 1 : 0, rtt: null, error: null });
  }
  for (const [target, error] of errors) {
    const line = lines.get(target);
    if (line !== undefined) lines.set(target, { ...line, error });
  }
  return lines;
}
