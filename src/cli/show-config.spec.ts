import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { makeApprovalKeys } from '../../test/action.ts';
import { runNetcheck } from '../../test/netcheck.ts';
import { FileConfig } from '../config.ts';

let folder: string;
let file: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'netcheck-config-'));
  file = join(folder, 'netcheck.yaml');
  writeFileSync(
    file,
    `redis: { url: 'rediss://netcheck@redis.example:6380' }
clusters: { prod: { kubeconfig: kubeconfig } }
remedies: { enabled: true, publicKeyFile: approval.pub, auditFile: /var/lib/netcheck/audit.jsonl }
`,
  );
});

afterAll(() => rmSync(folder, { recursive: true }));

const SECRETS = {
  NETCHECK_SLACK_SIGNING_SECRET: 'signing-canary',
  NETCHECK_SLACK_BOT_TOKEN: 'xoxb-token-canary',
  NETCHECK_SLACK_APP_TOKEN: 'xapp-token-canary',
  NETCHECK_APPROVAL_KEY: makeApprovalKeys().privateKey,
  NETCHECK_REDIS_PASSWORD: 'password-canary',
  LOG_LEVEL: undefined,
};

test('shows what is configured, with every default, and which secrets are set, but none of them', async () => {
  const { status, stdout, stderr } = await runNetcheck(['config', '--config', file], SECRETS);
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout.split('\n').filter((line) => line.startsWith('#'))).toEqual([
    `# ${file} is fine for: netcheck all`,
    '# From the environment:',
    '#   NETCHECK_SLACK_SIGNING_SECRET  set (for the bot over HTTP)',
    '#   NETCHECK_SLACK_BOT_TOKEN       set (for the bot)',
    '#   NETCHECK_SLACK_APP_TOKEN       set (for the bot in Socket Mode)',
    '#   NETCHECK_APPROVAL_KEY          set (for the bot with remedies)',
    '#   NETCHECK_REDIS_PASSWORD        set (optional)',
    '#   LOG_LEVEL                      not set (optional)',
  ]);
  expect(stdout).not.toMatch(/canary|PRIVATE KEY/);
  // What is shown can be read as a configuration again, and says the same.
  expect(parse(stdout)).toEqual(
    FileConfig.parse({
      redis: { url: 'rediss://netcheck@redis.example:6380' },
      clusters: { prod: { kubeconfig: join(folder, 'kubeconfig') } },
      remedies: { enabled: true, publicKeyFile: join(folder, 'approval.pub'), auditFile: '/var/lib/netcheck/audit.jsonl' },
    }),
  );
});

test('of a worker it shows nothing of Slack, and needs none of its secrets', async () => {
  const none = Object.fromEntries(Object.keys(SECRETS).map((name) => [name, undefined]));
  const { status, stdout } = await runNetcheck(['config', '--config', file, '--for', 'worker'], none);
  const { slack: _slack, ...rest } = FileConfig.parse(parse(stdout));
  expect([status, Object.keys(parse(stdout) as object).includes('slack'), rest.remedies.enabled]).toEqual([0, false, true]);
});

test('what cannot be used is said line by line, with exit status 3', async () => {
  const wrong = join(folder, 'wrong.yaml');
  writeFileSync(wrong, 'clusters: { prod: {} }\nremedys: { enabled: true }\n');
  expect(await runNetcheck(['config', '--config', wrong, '--for', 'worker'])).toEqual({
    status: 3,
    stdout: '',
    stderr: `netcheck: the configuration cannot be used:\n${wrong}:2:1: remedys is not known; did you mean "remedies"?\n`,
  });
});

test('a role that there is not is refused', async () => {
  expect(await runNetcheck(['config', '--config', file, '--for', 'wroker'])).toEqual({
    status: 3,
    stdout: '',
    stderr: 'netcheck: --for wroker: it is bot, worker or all. Did you mean worker?\n',
  });
});
