import type { Evidence } from '../../model/evidence.ts';
import { type Parsed, parseComplete } from './check.ts';

/** A UDP socket. `process` is `NAME (PID)` of one process that holds it, or null for the kernel's own. */
export type UdpSocket = { readonly port: number; readonly process: string | null; readonly text: string };

/** Parses the evidence of `UDP_SOCKETS`. Source: ss(8). */
export function parseUdpSockets(evidence: Evidence): Parsed<readonly UdpSocket[]> {
  return parseComplete(evidence, (stdout) =>
    stdout
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        const port = /^\S+\s+\d+\s+\d+\s+\S+:(\d+|\*)\s/.exec(line)?.[1];
        if (port === undefined) throw new TypeError(`not a socket: ${line}`);
        const holder = /users:\(\("([^"]+)",pid=(\d+)/.exec(line);
        return {
          port: Number(port),
          process: holder === null ? null : `${holder[1]} (PID ${holder[2]})`,
          text: line.replace(/\s+/g, ' ').trim(),
        };
      }),
  );
}
