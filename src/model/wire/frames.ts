/** The version of the conversation; both sides have to speak the same. */
export const AGENT_PROTOCOL = 2;

/** The longest frame that either side accepts, in bytes. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** Without a frame from the worker for this long the agent ends what it started and exits, in milliseconds. */
export const SILENCE_MS = 3000;

/** A frame longer than allowed, or output that is not framed JSON. */
export type FrameError = { readonly kind: 'too-long' | 'not-json'; readonly message: string };

/** One frame: a 4-byte big-endian length, then the value as UTF-8 JSON. */
export function encodeFrame(value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(value));
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, 4);
  return frame;
}

/**
 * Cuts a byte stream into frames. `push` takes the next chunk and returns the values that it completed, or an error after
 * which the stream cannot be used any more.
 */
export function createFrameReader(maxBytes: number): { readonly push: (chunk: Uint8Array) => readonly unknown[] | FrameError } {
  let chunks: Uint8Array[] = [];
  let buffered = 0;
  let needed = 4;
  let inBody = false;

  function take(count: number): Buffer {
    const [first] = chunks;
    const all =
      chunks.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.length)
        : Buffer.concat(chunks);
    const rest = all.subarray(count);
    chunks = rest.length === 0 ? [] : [rest];
    buffered -= count;
    return all.subarray(0, count);
  }

  return {
    push(chunk) {
      chunks.push(chunk);
      buffered += chunk.length;
      const values: unknown[] = [];
      while (buffered >= needed) {
        const bytes = take(needed);
        if (!inBody) {
          needed = bytes.readUInt32BE(0);
          inBody = true;
          if (needed > maxBytes)
            return { kind: 'too-long', message: `a frame of ${needed} bytes (at most ${maxBytes} are allowed)` };
          continue;
        }
        try {
          values.push(JSON.parse(bytes.toString('utf8')));
        } catch {
          return { kind: 'not-json', message: `a frame that is not JSON: ${JSON.stringify(bytes.toString('utf8', 0, 80))}` };
        }
        needed = 4;
        inBody = false;
      }
      return values;
    },
  };
}
