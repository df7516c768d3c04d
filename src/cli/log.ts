import { type DestinationStream, destination, type Logger, levels, pino } from 'pino';
import { ENVIRONMENT } from '../config.ts';
import { nearNames } from '../model/near-names.ts';
import { UsageError } from './usage-error.ts';

/** What has the form of a secret, wherever it comes from. */
const SECRETS: readonly RegExp[] = [
  /(?:xox[a-z]|xapp)-[A-Za-z0-9-]{3,}/g,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----/gs,
  /(?<=[Bb]earer )[A-Za-z0-9._~+/-]{8,}=*/g,
  /(?<=rediss?:\/\/[^\s"@/]{0,80}:)[^\s"@/]+(?=@)/g,
];

/** Shorter values are no secrets, and would make holes into every line. */
const SHORTEST_SECRET = 6;

/** A logger that writes one JSON object a line to standard output, without secrets. `LOG_LEVEL` says how much. */
export function createLogger(environment: NodeJS.ProcessEnv = process.env, sink?: DestinationStream): Logger {
  const level = environment['LOG_LEVEL'] ?? 'info';
  const known = [...Object.values(levels.labels), 'silent'];
  if (!known.includes(level)) {
    const [near] = nearNames(level, known, 1);
    throw new UsageError(
      `LOG_LEVEL=${level}: it is one of ${known.join(', ')}.${near === undefined ? '' : ` Did you mean ${near}?`}`,
    );
  }
  // Synchronous: the last lines before an exit are those that matter.
  const out = sink ?? destination({ fd: 1, sync: true });
  const redact = redactorOf(environment);
  return pino(
    { level, base: {}, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    { write: (line: string) => out.write(redact(line)) },
  );
}

/** Takes the secrets of an environment out of a text, and whatever looks like one. */
export function redactorOf(environment: NodeJS.ProcessEnv): (text: string) => string {
  return createRedactor(secretsOf(environment));
}

/** Takes secrets out of a line: the values given, as they are and as JSON or a URL writes them, and whatever looks like one. */
export function createRedactor(secrets: readonly string[]): (line: string) => string {
  const spellings = secrets
    .filter((secret) => secret.length >= SHORTEST_SECRET)
    // As JSON writes it twice: an error's message may be JSON of its own.
    .flatMap((secret) => [secret, inJson(secret), inJson(inJson(secret)), encodeURIComponent(secret)])
    .toSorted((a, b) => b.length - a.length);
  const values = [...new Set(spellings)];
  return (line) => {
    const known = values.reduce((text, value) => text.replaceAll(value, '[secret]'), line);
    return SECRETS.reduce((text, pattern) => text.replace(pattern, '[secret]'), known);
  };
}

function inJson(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

function secretsOf(environment: NodeJS.ProcessEnv): readonly string[] {
  return Object.keys(ENVIRONMENT)
    .filter((name) => name.startsWith('NETCHECK_'))
    .flatMap((name) => {
      const value = environment[name] ?? '';
      // A key may be given as base64 of a PEM: then it is the PEM that could turn up.
      return [value, Buffer.from(value, 'base64').toString('utf8')];
    });
}
