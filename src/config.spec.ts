import { generateKeyPairSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { type Config, formatConfigProblems, readConfig } from './config.ts';

const key = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const environment = { NETCHECK_SLACK_SIGNING_SECRET: 's3cret', NETCHECK_SLACK_BOT_TOKEN: 'xoxb-1' };
const minimal = 'clusters:\n  prod: {}\n';

function problems(text: string, env: Record<string, string> = environment, role: 'bot' | 'worker' | 'all' = 'bot'): string[] {
  const read = readConfig(text, env, role);
  if (read.ok) throw new Error('the configuration was accepted');
  return formatConfigProblems('netcheck.yaml', read.error).split('\n');
}

test('the smallest file gives a complete configuration with safe defaults', () => {
  const expected: Config = {
    slack: {
      mode: 'http',
      port: 3000,
      apiUrl: 'https://slack.com/api/',
      externallySharedChannels: [],
      signingSecret: 's3cret',
      appToken: '',
      botToken: 'xoxb-1',
    },
    redis: { url: 'redis://127.0.0.1:6379' },
    clusters: { prod: { agentNamespace: 'netcheck-agents' } },
    access: { diagnose: 'members', request: 'members', approve: { users: [], groups: [] }, selfApproval: false },
    ops: { host: '127.0.0.1' },
    limits: { runsPerUser: 3, runsPerCluster: 20, digestsPerChannel: 5 },
    timeouts: { acceptMs: 2_000, runMs: 120_000, queuedMs: 600_000, approveMs: 900_000, startMs: 120_000, remedyMs: 120_000 },
    remedies: { enabled: false },
    approvalKey: null,
  };
  expect(readConfig(minimal, environment, 'bot')).toEqual({ ok: true, value: expected });
});

test('secrets come from the environment only, for those who need them', () => {
  const on = `${minimal}remedies: {enabled: true, publicKeyFile: /k, auditFile: /a}\n`;
  const secrets = { ...environment, NETCHECK_APPROVAL_KEY: Buffer.from(key).toString('base64'), NETCHECK_REDIS_PASSWORD: 'p@ss' };
  expect(readConfig(on, secrets, 'all')).toMatchObject({
    ok: true,
    value: { approvalKey: key, redis: { url: 'redis://:p%40ss@127.0.0.1:6379' } },
  });
  expect(readConfig(on, {}, 'worker')).toMatchObject({ ok: true, value: { slack: null, approvalKey: null } });
  expect(problems(on, {})).toEqual([
    'environment: NETCHECK_SLACK_SIGNING_SECRET is not set: it has to hold the signing secret of the Slack app (Basic Information → App Credentials)',
    'environment: NETCHECK_SLACK_BOT_TOKEN is not set: it has to hold the bot token of the Slack app, xoxb-… (OAuth & Permissions)',
    'environment: NETCHECK_APPROVAL_KEY is not set: it has to hold the Ed25519 private key that approvals are signed with, as PEM or base64 of a PEM',
  ]);
  expect(problems(on, { ...environment, NETCHECK_SLACK_BOT_TOKEN: 'token', NETCHECK_APPROVAL_KEY: 'key' })).toEqual([
    'environment: NETCHECK_SLACK_BOT_TOKEN is no Slack token: it has to begin with "xoxb-"',
    'environment: NETCHECK_APPROVAL_KEY is no Ed25519 private key: make one with "openssl genpkey -algorithm ed25519"',
  ]);
  expect(problems(`redis: {url: "redis://u:p@h"}\n${minimal}`)).toEqual([
    'netcheck.yaml:1:14: redis.url contains a password: put it into NETCHECK_REDIS_PASSWORD',
  ]);
});

test.each([
  [
    'an unknown key',
    'slack:\n  prot: 3000\nclusters: {prod: {}}',
    ['netcheck.yaml:2:3: slack.prot is not known; did you mean "port"?'],
  ],
  [
    'an unknown key like no other',
    'slak: {}\nzzz: 1\nclusters: {prod: {}}',
    [
      'netcheck.yaml:1:1: slak is not known; did you mean "slack"?',
      'netcheck.yaml:2:1: zzz is not known; known here: slack, redis, clusters, access, limits, timeouts, ops, remedies',
    ],
  ],
  [
    'a key of a cluster',
    'clusters:\n  prod:\n    chanels: [C0123456789]',
    ['netcheck.yaml:3:5: clusters.prod.chanels is not known; did you mean "channels"?'],
  ],
  [
    'a key of people',
    'clusters: {prod: {}}\naccess:\n  approve:\n    user: [U0123456789]',
    ['netcheck.yaml:4:5: access.approve.user is not known; did you mean "users"?'],
  ],
  [
    'wrong types',
    'slack:\n  port: "3000"\nclusters: [prod]\nremedies: {enabled: yes please}',
    [
      'netcheck.yaml:2:9: slack.port has to be a whole number, not the text "3000"',
      'netcheck.yaml:3:11: clusters has to be a mapping (key: value), not a list',
      'netcheck.yaml:4:21: remedies.enabled has to be true or false, not the text "yes please"',
    ],
  ],
  ['nothing at all', '', ['netcheck.yaml:1:1: clusters is missing: has to be a mapping (key: value)']],
  [
    'no cluster',
    'clusters: {}',
    ['netcheck.yaml:1:11: clusters is empty: name at least one cluster, such as "clusters: {prod: {channels: [C0123456789]}}"'],
  ],
  [
    'a name instead of an id',
    'clusters:\n  prod:\n    channels:\n      - "#incidents"',
    [
      'netcheck.yaml:4:9: clusters.prod.channels.0 has to be a channel id such as "C0123456789" (not a name: open the channel\'s details), not the text "#incidents"',
    ],
  ],
  [
    'a user name',
    'clusters: {prod: {}}\naccess: {diagnose: everyone}',
    ['netcheck.yaml:2:20: access.diagnose has to be "members" or {users: [...], groups: [...]}, not the text "everyone"'],
  ],
  [
    'a bad user id in a list',
    'clusters: {prod: {}}\naccess:\n  diagnose:\n    users: [ann]',
    [
      'netcheck.yaml:4:13: access.diagnose.users.0 has to be a user id such as "U0123456789" (not a name: open the profile, "Copy member ID"), not the text "ann"',
    ],
  ],
  [
    'a bad cluster name',
    'clusters:\n  Prod_EU: {}',
    [
      'netcheck.yaml:2:3: clusters.Prod_EU is no name for a cluster: "Prod_EU" has to be lower-case letters, digits and hyphens, at most 63, such as "prod-eu"',
    ],
  ],
  [
    'a number out of range',
    'slack: {port: 70000}\nclusters: {prod: {}}',
    ['netcheck.yaml:1:15: slack.port has to be at most 65535, not 70000'],
  ],
  ['no YAML', 'slack: {}\nslack: {}\nclusters: {prod: {}}', ['netcheck.yaml:2:1: is not YAML: Map keys must be unique']],
  [
    'two clusters without channels',
    'clusters:\n  a: {}\n  b: {channels: [C0123456789]}\n  c: {channels: [C0123456789]}',
    [
      'netcheck.yaml:2:6: clusters.a needs "channels", because there is more than one cluster: list the ids of the channels that ask about it',
    ],
  ],
])('%s is said with its place and what to write instead', (_, text, expected) => {
  const said = problems(text);
  expect(said).toEqual(expected);
});

test('a worker that is to run remedies needs the key to verify approvals and the file for the audit', () => {
  expect(problems(`${minimal}remedies:\n  enabled: true\n`, {}, 'worker')).toEqual([
    'netcheck.yaml:4:3: remedies are enabled, but "publicKeyFile" is missing: without it no approval can be verified',
    'netcheck.yaml:4:3: remedies are enabled, but "auditFile" is missing: what cannot be audited does not happen',
  ]);
});

test('Socket Mode needs an app-level token and no signing secret', () => {
  const text = 'slack: {mode: socket}\nclusters: {prod: {}}';
  const token = { NETCHECK_SLACK_BOT_TOKEN: 'xoxb-1' };
  expect(problems(text, token)).toEqual([
    'environment: NETCHECK_SLACK_APP_TOKEN is not set: it has to hold the app-level token of the Slack app with the scope connections:write, xapp-… (Basic Information)',
  ]);
  expect(problems(text, { ...token, NETCHECK_SLACK_APP_TOKEN: 'xoxb-1' })).toEqual([
    'environment: NETCHECK_SLACK_APP_TOKEN is no app-level token: it has to begin with "xapp-"',
  ]);
  expect(problems('slack: {mode: sockets}\nclusters: {prod: {}}')).toEqual([
    'netcheck.yaml:1:15: slack.mode has to be "http" or "socket", not the text "sockets"',
  ]);
  const read = readConfig(text, { ...token, NETCHECK_SLACK_APP_TOKEN: 'xapp-1' }, 'bot');
  expect(read.ok && read.value.slack).toMatchObject({ mode: 'socket', appToken: 'xapp-1', signingSecret: '' });
});
