import type { Evidence } from '../../model/evidence.ts';
import { incomplete, type Parsed, parseComplete, unsupported } from './check.ts';

/** A line of the kernel's log, and how many seconds ago it was written. */
export type KernelLine = { readonly ago: number; readonly text: string };

/**
 * Parses the evidence of `KERNEL_LOG`, oldest line first. A record is `PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;TEXT`.
 * Source: Documentation/ABI/testing/dev-kmsg.
 */
export function parseKernelLog(evidence: Evidence): Parsed<readonly KernelLine[]> {
  if (incomplete(evidence) === null && !evidence.stdout.includes('==> /dev/kmsg <==') && evidence.stdout.includes('uptime'))
    return unsupported('there is no kernel log on this node');
  return parseComplete(evidence, (stdout) => {
    const [, uptime, log = ''] =
      /^==> \/proc\/uptime <==\n(\d+\.\d+) \d+\.\d+\n==> \/dev\/kmsg <==\n([\s\S]*)$/.exec(stdout) ?? [];
    if (uptime === undefined) throw new Error('no time and log');
    return log
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [, written, text] = /^\d+,\d+,(\d+),[^;]*;(.*)$/.exec(line) ?? [];
        if (written === undefined || text === undefined) throw new Error(`not a record: ${line}`);
        return { ago: Math.max(0, Number(uptime) - Number(written) / 1_000_000), text };
      });
  });
}
