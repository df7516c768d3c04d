/**
 * The framing of `pods/exec` over WebSocket: every binary message is one byte that names the channel, then its data.
 * Source: k8s.io/streaming/pkg/httpstream/wsstream and KEP-4006 (the close channel of v5).
 */
export const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

/** The subprotocols that are spoken here. `v5` adds the close channel: `[255, 0]` ends standard input. */
export const EXEC_PROTOCOLS: readonly string[] = ['v5.channel.k8s.io', 'v4.channel.k8s.io'];

/** One message on a channel. */
export function frame(channel: number, data: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(channel), typeof data === 'string' ? Buffer.from(data) : data]);
}

/** The first offered subprotocol that is spoken, or null. */
export function chooseProtocol(offered: Iterable<string>, spoken = EXEC_PROTOCOLS): string | null {
  for (const protocol of offered) if (spoken.includes(protocol)) return protocol;
  return null;
}

/** The subprotocols that a handshake offers, in its order. */
export function offeredProtocols(header: string | undefined): readonly string[] {
  return (header ?? '')
    .split(',')
    .map((protocol) => protocol.trim())
    .filter((protocol) => protocol !== '');
}

/** A message of a WebSocket as one buffer, however it was received. */
export function toBuffer(data: Buffer | ArrayBuffer | readonly Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return data instanceof ArrayBuffer ? Buffer.from(data) : Buffer.concat(data);
}
