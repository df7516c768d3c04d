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

/** A TCP socket that listens: `waiting` connections are not accepted yet, `backlog` may wait. `address` as it is bound. */
export type TcpListener = { readonly address: string; readonly port: number; readonly waiting: number; readonly backlog: number };

/** Parses the evidence of `TCP_LISTENERS`. Source: ss(8); of a listener Recv-Q and Send-Q are these two, inet_diag. */
export function parseTcpListeners(evidence: Evidence): Parsed<readonly TcpListener[]> {
  return parseComplete(evidence, (stdout) =>
    stdout
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        const [, waiting, backlog, address = '', port] = /^LISTEN\s+(\d+)\s+(\d+)\s+(\S+):(\d+)\s/.exec(line) ?? [];
        if (waiting === undefined) throw new TypeError(`not a listener: ${line}`);
        return { address, port: Number(port), waiting: Number(waiting), backlog: Number(backlog) };
      }),
  );
}
