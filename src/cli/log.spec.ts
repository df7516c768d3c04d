import { expect, test } from 'vitest';
import { makeApprovalKeys } from '../../test/action.ts';
import { createLogger, createRedactor } from './log.ts';
import { UsageError } from './usage-error.ts';

/** A logger whose lines are kept. */
function logger(environment: NodeJS.ProcessEnv) {
  const lines: string[] = [];
  return { log: createLogger(environment, { write: (line) => void lines.push(line) }), lines };
}

test('a line is one JSON object: level in words, time in UTC, the fields and the message', () => {
  const { log, lines } = logger({});
  log.info({ cluster: 'prod' }, 'worker started');
  expect(lines).toHaveLength(1);
  expect(lines[0]?.endsWith('}\n')).toBe(true);
  expect(JSON.parse(lines[0] ?? '')).toEqual({
    level: 'info',
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    cluster: 'prod',
    msg: 'worker started',
  });
});

test.each([
  [undefined, ['info', 'warn', 'error', 'fatal']],
  ['debug', ['debug', 'info', 'warn', 'error', 'fatal']],
  ['warn', ['warn', 'error', 'fatal']],
  ['silent', []],
])('LOG_LEVEL=%s logs %j', (level, expected) => {
  const { log, lines } = logger(level === undefined ? {} : { LOG_LEVEL: level });
  for (const method of ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const) log[method]({}, 'something');
  expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(expected);
});

test.each([
  ['wran', 'LOG_LEVEL=wran: it is one of trace, debug, info, warn, error, fatal, silent. Did you mean warn?'],
  ['7', 'LOG_LEVEL=7: it is one of trace, debug, info, warn, error, fatal, silent.'],
])('LOG_LEVEL=%s is refused', (level, message) => {
  expect(() => createLogger({ LOG_LEVEL: level })).toThrow(new UsageError(message));
});

const { privateKey } = makeApprovalKeys();
const base64 = Buffer.from(privateKey).toString('base64');
const body = privateKey.split('\n')[1] ?? '';

const ENVIRONMENT = {
  NETCHECK_SLACK_SIGNING_SECRET: '8f742231b10e8888abcd99yyyzzz85a5',
  NETCHECK_SLACK_BOT_TOKEN: 'xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy',
  NETCHECK_APPROVAL_KEY: base64,
  NETCHECK_REDIS_PASSWORD: 'p@ss/w"ord',
};

/** Secrets in the ways in which they could turn up, with the parts that must not be seen. */
const LEAKS: readonly (readonly [string, object, readonly string[]])[] = [
  ['a field', { header: ENVIRONMENT.NETCHECK_SLACK_SIGNING_SECRET }, [ENVIRONMENT.NETCHECK_SLACK_SIGNING_SECRET]],
  ['a token in a header', { authorization: `Bearer ${ENVIRONMENT.NETCHECK_SLACK_BOT_TOKEN}` }, ['pdFZKVeTuE8sk7oOcHrzqqgy']],
  ['a token of somebody else', { token: 'xoxp-999-secret' }, ['999-secret']],
  ['a bearer token that is not ours', { headers: { a: 'bearer eyJhbGciOi.JSUzI1Ni.IsInR5' } }, ['eyJhbGciOi']],
  ['the key as it is in the environment', { key: base64 }, [base64]],
  ['the key as PEM', { key: privateKey }, [body]],
  ['a key of somebody else', { stack: `Error: ${makeApprovalKeys().privateKey}` }, ['BEGIN PRIVATE KEY']],
  ['a password that JSON escapes', { password: ENVIRONMENT.NETCHECK_REDIS_PASSWORD }, ['p@ss/w']],
  ['a password in a URL', { redis: 'rediss://netcheck:p%40ss%2Fw%22ord@redis.example:6379' }, ['p%40ss', 'w%22ord']],
  ['a password in a URL that is not ours', { redis: 'redis://:another-one@redis.example' }, ['another-one']],
  ['an error', { err: new Error(`refused: ${ENVIRONMENT.NETCHECK_SLACK_BOT_TOKEN}`) }, ['pdFZKVeTuE8sk7oOcHrzqqgy']],
  ['deep in a field', { a: [{ b: { c: ENVIRONMENT.NETCHECK_SLACK_SIGNING_SECRET } }] }, ['8f742231b10e']],
];

test.each(LEAKS)('no secret is logged: %s', (_, fields, parts) => {
  const { log, lines } = logger({ ...ENVIRONMENT, LOG_LEVEL: 'trace' });
  log.error(fields, 'something went wrong');
  log.trace(fields, JSON.stringify(fields));
  const [line = ''] = lines;
  expect(parts.filter((part) => lines.some((text) => text.includes(part)))).toEqual([]);
  expect(JSON.parse(line)).toMatchObject({ level: 'error', msg: 'something went wrong' });
  expect(line).toContain('[secret]');
});

test('a secret in the message itself is taken out, and what stands around it stays', () => {
  const { log, lines } = logger(ENVIRONMENT);
  log.warn({}, `Slack said invalid_auth to ${ENVIRONMENT.NETCHECK_SLACK_BOT_TOKEN}, at once`);
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ msg: 'Slack said invalid_auth to [secret], at once' });
});

test('values too short to be secrets make no holes', () => {
  expect(createRedactor(['', 'a', '12345'])('a 12345 line')).toBe('a 12345 line');
  expect(createRedactor(['123456'])('a 123456 line')).toBe('a [secret] line');
});

test('of secrets that contain one another the longer is taken out whole', () => {
  expect(createRedactor(['hunter2', 'hunter2-and-more'])('x hunter2-and-more y hunter2 z')).toBe('x [secret] y [secret] z');
});
