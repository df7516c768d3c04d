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
    access: {
      diagnose: 'members',
      request: 'members',
      approve: { users: [], groups: [] },
      approvals: 1,
      selfApproval: false,
      quiet: [],
      rules: [],
      breakGlass: { enabled: false, people: { users: [], groups: [] } },
    },
    ops: { host: '127.0.0.1' },
    limits: { runsPerUser: 3, runsPerCluster: 20, digestsPerChannel: 5 },
    timeouts: { acceptMs: 2_000, runMs: 120_000, queuedMs: 600_000, approveMs: 900_000, startMs: 120_000, remedyMs: 120_000 },
    remedies: { enabled: false, events: false },
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
  [
    'a rule about what there is not',
    'clusters: {prod: {}}\naccess:\n  rules:\n    - clusters: [prd]\n      remedies: [flush-neighbor]\n      approvals: 2',
    [
      'netcheck.yaml:4:18: access.rules.0.clusters.0 is no configured cluster: did you mean "prod"?',
      'netcheck.yaml:5:18: access.rules.0.remedies.0 is no remedy: did you mean "flush-neighbour"?',
    ],
  ],
  [
    'a key of a rule',
    'clusters: {prod: {}}\naccess:\n  rules:\n    - risks: [high]\n      approvals: 3\n      risk: []',
    [
      'netcheck.yaml:4:7: access.rules.0.risks is not known; did you mean "risk"?',
      'netcheck.yaml:5:18: access.rules.0.approvals has to be at most 2, not 3',
      'netcheck.yaml:6:13: access.rules.0.risk needs at least 1 item',
    ],
  ],
  [
    'rules that decide nothing, never apply, or are no exceptions',
    'clusters: {prod: {}}\naccess:\n  rules:\n    - risk: [high]\n    - risk: [medium, high]\n      approvals: 2\n    - risk: [high]\n      approvals: 1\n    - selfApproval: true\n    - risk: [low]\n      diagnose: members',
    [
      'netcheck.yaml:4:7: access.rules.0 decides nothing: give it at least one of diagnose, request, approve, approvals, selfApproval, quiet',
      'netcheck.yaml:8:18: access.rules.2.approvals never applies: access.rules.1.approvals is about all of it and comes first. Move this rule up',
      'netcheck.yaml:9:7: access.rules.3 is about everything: put it into "access" itself, or say which clusters, channels, remedies or risk classes it is about',
      'netcheck.yaml:11:17: access.rules.4.diagnose can never apply: a diagnosis has no remedy. Put it into a rule without "remedies" and "risk"',
    ],
  ],
  [
    'more approvals than approvers',
    'clusters: {prod: {}}\naccess:\n  approvals: 2\n  approve: {users: [U0123456789]}\n  breakGlass: {enabled: true}',
    [
      'netcheck.yaml:3:14: access.approvals asks for 2 people, but only 1 may approve: list more under "approve"',
      'netcheck.yaml:5:15: access.breakGlass is enabled, but nobody may: list "people", or leave it off',
    ],
  ],
  [
    'quiet hours that cannot be',
    'clusters: {prod: {}}\naccess:\n  quiet:\n    - {days: [mo], from: 8:00, to: 25:00, zone: Berlin}\n    - {from: 24:00}',
    [
      'netcheck.yaml:4:15: access.quiet.0.days.0 has to be "mon" or "tue" or "wed" or "thu" or "fri" or "sat" or "sun", not the text "mo"',
      'netcheck.yaml:4:26: access.quiet.0.from has to be a time of day such as "18:30", not the text "8:00"',
      'netcheck.yaml:4:36: access.quiet.0.to has to be a time of day such as "18:30", at most "24:00", not the text "25:00"',
      'netcheck.yaml:4:49: access.quiet.0.zone has to be an IANA time zone such as "Europe/Berlin", not the text "Berlin"',
      'netcheck.yaml:5:7: access.quiet.1.zone is missing: has to be text',
      'netcheck.yaml:5:14: access.quiet.1.from has to be a time of day such as "18:30", not the text "24:00"',
    ],
  ],
  [
    'quiet hours of no length',
    'clusters: {prod: {}}\naccess:\n  quiet:\n    - {from: 08:00, to: 08:00, zone: Europe/Berlin}',
    ['netcheck.yaml:4:7: access.quiet.0 begins and ends at the same time: for whole days leave out "from" and "to"'],
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
