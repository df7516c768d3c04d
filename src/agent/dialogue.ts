import { decode, encode, RECURSION_DESIRED } from 'dns-packet';
import type { Exchange } from '../model/wire/agent.ts';
import { clientHello, readServerHello } from './client-hello.ts';

/** How one attempt ended: `ok`, an errno name, `TIMEOUT`, or a DNS rcode. */
export type Answer = { readonly result: string; readonly detail: string };

/**
 * What is said to a server, and what its answer means. `request` is null where connecting is all that is asked; `judge`
 * gets everything that has come so far, and returns null while that is not enough to tell.
 */
export type Dialogue = {
  readonly transport: 'tcp' | 'udp';
  readonly request: Buffer | null;
  readonly judge: (answer: Buffer) => Answer | null;
};

/** The dialogue of one attempt at an exchange. */
export function dialogueOf(exchange: Exchange): Dialogue {
  switch (exchange.method) {
    case 'tcp':
      return { transport: 'tcp', request: null, judge: () => null };
    case 'http':
      return httpDialogue(exchange);
    case 'tls':
      return tlsDialogue(exchange);
    case 'dns':
      return dnsDialogue(exchange);
  }
}

/** Only the status line matters; node:http would take longer to load than to use. */
function httpDialogue({ ip, name }: Exchange): Dialogue {
  return {
    transport: 'tcp',
    request: Buffer.from(`GET ${name} HTTP/1.1\r\nHost: ${ip}\r\nConnection: close\r\n\r\n`),
    judge(answer) {
      if (answer.length < 'HTTP/1.1 200'.length) return null;
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer.toString('latin1', 0, 16))?.[1];
      return status === undefined ? { result: 'MALFORMED', detail: '' } : { result: 'ok', detail: status };
    },
  };
}

/** Only that the server begins a handshake; what its certificate says is another check's business. */
function tlsDialogue({ name }: Exchange): Dialogue {
  return {
    transport: 'tcp',
    request: clientHello(name),
    judge(answer) {
      switch (readServerHello(answer)) {
        case 'hello':
          return { result: 'ok', detail: '' };
        case 'alert':
          return { result: 'TLS', detail: `alert ${answer[6] ?? ''}` };
        case 'not-tls':
          return { result: 'TLS', detail: 'what answers does not speak TLS' };
        default:
          return null;
      }
    },
  };
}

/** A name with a final dot is asked for its name servers, any other for its addresses. */
function dnsDialogue({ name }: Exchange): Dialogue {
  const type = name.endsWith('.') ? 'NS' : 'A';
  const id = Math.floor(Math.random() * 65_536);
  return {
    transport: 'udp',
    request: encode({ type: 'query', id, flags: RECURSION_DESIRED, questions: [{ type, name }] }),
    judge(answer) {
      try {
        const reply = decode(answer);
        if (reply.id !== id || reply.type !== 'response') return null;
        const answers = reply.answers ?? [];
        const addresses = answers.flatMap((record) => (record.type === 'A' ? [record.data] : []));
        // `rcode` is set by decode and missing from the types of dns-packet.
        const { rcode } = reply as unknown as { rcode: string };
        if (rcode !== 'NOERROR') return { result: rcode, detail: '' };
        return { result: 'ok', detail: type === 'NS' ? `${answers.length} records` : addresses.join(' ') };
      } catch {
        return { result: 'MALFORMED', detail: '' };
      }
    },
  };
}
