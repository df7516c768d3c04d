import { z } from 'zod';
import { oneLine, shorten } from '../../model/text.ts';
import type { ClusterFault } from '../port.ts';

/** The part of a Status that says what went wrong. */
export const Status = z.object({
  status: z.string().nullish(),
  message: z.string().nullish(),
  reason: z.string().nullish(),
  code: z.number().nullish(),
  details: z
    .object({ causes: z.array(z.object({ reason: z.string().nullish(), message: z.string().nullish() })).nullish() })
    .nullish(),
});
export type Status = z.infer<typeof Status>;

const MESSAGE_LENGTH = 400;

/** Text from outside as one line of a message. */
export function said(text: string): string {
  return shorten(oneLine(text), MESSAGE_LENGTH);
}

/** The Status in a body, or null when it holds none (a proxy's page, a cut answer). */
export function parseStatus(body: string): Status | null {
  try {
    const parsed = Status.safeParse(JSON.parse(body));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

/** What an HTTP answer other than success means. */
export function faultOfAnswer(code: number, body: string): ClusterFault {
  const message = said(parseStatus(body)?.message ?? '') || `the API server answered ${code} without a reason`;
  switch (code) {
    case 401:
      return { kind: 'unauthorized', message: `the API server does not accept the credentials: ${message}` };
    case 403:
      return { kind: 'forbidden', message };
    case 404:
      return { kind: 'not-found', message };
    case 409:
      return { kind: 'conflict', message };
    case 408:
    case 504:
      return { kind: 'timeout', message };
    case 429:
      return { kind: 'throttled', message };
    default:
      return {
        kind: code >= 500 ? 'unreachable' : 'invalid',
        message: code >= 500 ? `the API server answered ${code}: ${message}` : message,
      };
  }
}

/** What an error of a connection to the API server means. */
export function faultOfError(error: NodeJS.ErrnoException, server: URL): ClusterFault {
  const code = error.code ?? '';
  if (/CERT|SELF_SIGNED|UNABLE_TO|^ERR_TLS|^ERR_SSL|EPROTO/.test(code)) {
    return { kind: 'invalid', message: `the certificate of ${server.host} is not trusted: ${said(error.message)}` };
  }
  return { kind: 'unreachable', message: `the API server at ${server.host} cannot be reached: ${said(error.message)}` };
}

/** Whether a signal was aborted by a deadline rather than by somebody who no longer wants the result. */
export function isDeadline(signal: AbortSignal): boolean {
  return signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
}
