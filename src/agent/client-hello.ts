/*
 * Just enough TLS to see that a server speaks it. Loading node:tls costs more processor time than everything else that
 * the agent does at its start, on every node of every run, for a handshake of which only the answer matters.
 * Source: RFC 8446, sections 4.1.2 and 5.1; RFC 6066, section 3.
 */

const HANDSHAKE = 22;
const ALERT = 21;
const CLIENT_HELLO = 1;
const SERVER_HELLO = 2;

/** A ClientHello for TLS 1.3 and 1.2 that any current server answers with a ServerHello. */
export function clientHello(serverName: string): Buffer {
  const ciphers = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
  const name = Buffer.from(serverName, 'ascii');
  const extensions = Buffer.concat([
    extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, name)]))),
    extension(10, vector(2, uint16s([0x001d, 0x0017, 0x0018]))),
    extension(11, vector(1, Buffer.from([0]))),
    extension(13, vector(2, uint16s([0x0403, 0x0503, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807]))),
    extension(43, vector(1, uint16s([0x0304, 0x0303]))),
    extension(45, vector(1, Buffer.from([1]))),
    // Any 32 bytes are a public key of X25519.
    extension(51, vector(2, Buffer.concat([uint16s([0x001d]), vector(2, randomBytes(32))]))),
  ]);
  const body = Buffer.concat([
    uint16s([0x0303]),
    randomBytes(32),
    vector(1, randomBytes(32)),
    vector(2, uint16s(ciphers)),
    vector(1, Buffer.from([0])),
    vector(2, extensions),
  ]);
  const handshake = Buffer.concat([Buffer.from([CLIENT_HELLO]), vector(3, body)]);
  return Buffer.concat([Buffer.from([HANDSHAKE, 3, 1]), vector(2, handshake)]);
}

/** What the first bytes of the answer are; null while there are too few of them to tell. */
export function readServerHello(answer: Buffer): 'hello' | 'alert' | 'not-tls' | null {
  if (answer.length < 6) return null;
  if (answer[0] === ALERT) return 'alert';
  return answer[0] === HANDSHAKE && answer[5] === SERVER_HELLO ? 'hello' : 'not-tls';
}

/** Nothing is kept secret with them, so they need not be hard to guess, and node:crypto need not be loaded. */
function randomBytes(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => Math.floor(Math.random() * 256)));
}

function extension(type: number, content: Buffer): Buffer {
  return Buffer.concat([uint16s([type]), vector(2, content)]);
}

/** Bytes behind their length, which is written in `width` bytes. */
function vector(width: number, content: Buffer): Buffer {
  const length = Buffer.alloc(width);
  length.writeUIntBE(content.length, 0, width);
  return Buffer.concat([length, content]);
}

function uint16s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, index) => bytes.writeUInt16BE(value, 2 * index));
  return bytes;
}
