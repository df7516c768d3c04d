import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { chosenClusters, chosenQueues, configFile, loadConfig } from './settings.ts';
import { UsageError } from './usage-error.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'netcheck-settings-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

function written(text: string): string {
  const file = join(folder, 'netcheck.yaml');
  writeFileSync(file, text);
  return file;
}

/** What somebody is told who used it wrongly. */
function complaint(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  throw new Error('nothing was wrong');
}

test('paths that are relative start at the folder of the file, others stay', () => {
  const file = written(`clusters:
  here: { kubeconfig: ./kubeconfig, channels: [C0000000001] }
  there: { kubeconfig: /etc/kubeconfig, channels: [C0000000002] }
  inside: { channels: [C0000000003] }
remedies: { enabled: true, publicKeyFile: keys/approval.pub, auditFile: '../audit-{cluster}.jsonl' }
`);
  const { clusters, remedies } = loadConfig(file, 'worker', {});
  expect([Object.values(clusters).map(({ kubeconfig }) => kubeconfig), remedies]).toEqual([
    [join(folder, 'kubeconfig'), '/etc/kubeconfig', undefined],
    {
      enabled: true,
      events: false,
      publicKeyFile: join(folder, 'keys/approval.pub'),
      auditFile: join(folder, '../audit-{cluster}.jsonl'),
    },
  ]);
});

test('every problem is listed with its line, and what the environment lacks', () => {
  const file = written('clusters:\n  prod:\n    kubeconfg: x\nlimits: { runsPerUser: 0 }\n');
  expect(complaint(() => loadConfig(file, 'bot', { NETCHECK_SLACK_SIGNING_SECRET: 's' }))).toBe(
    [
      'the configuration cannot be used:',
      `${file}:3:5: clusters.prod.kubeconfg is not known; did you mean "kubeconfig"?`,
      `${file}:4:24: limits.runsPerUser has to be at least 1, not 0`,
      'environment: NETCHECK_SLACK_BOT_TOKEN is not set: it has to hold the bot token of the Slack app, xoxb-… (OAuth & Permissions)',
    ].join('\n'),
  );
});

test('a file that is not there is said to be missing, with what to do', () => {
  const file = join(folder, 'none.yaml');
  expect(complaint(() => loadConfig(file, 'worker', {}))).toBe(
    `the configuration cannot be read: ENOENT: no such file or directory, open '${file}'\nName another file with --config, or begin with a copy of netcheck.example.yaml.`,
  );
});

test('without --config it is netcheck.yaml', () => {
  expect([configFile({}), configFile({ config: 'other.yaml' })]).toEqual(['netcheck.yaml', 'other.yaml']);
});

test('--cluster chooses one of the clusters, and without it all are meant', () => {
  const config = loadConfig(
    written('clusters: { prod-eu: { channels: [C0000000001] }, prod-us: { channels: [C0000000002] } }\n'),
    'worker',
    {},
  );
  expect([chosenClusters(config, {}), chosenClusters(config, { cluster: 'prod-us' })]).toEqual([
    ['prod-eu', 'prod-us'],
    ['prod-us'],
  ]);
  expect(complaint(() => chosenClusters(config, { cluster: 'prod-ue' }))).toMatch(
    /^--cluster prod-ue: the configuration has no such cluster\. Did you mean prod-(eu|us)/,
  );
  expect(complaint(() => chosenClusters(config, { cluster: 'zebra' }))).toBe(
    '--cluster zebra: the configuration has no such cluster. There are prod-eu, prod-us.',
  );
  expect(complaint(() => chosenClusters(config, { cluster: ['prod-eu', 'prod-us'] }))).toMatch(
    /^--cluster \["prod-eu","prod-us"\]: /,
  );
});

test('--queue chooses one kind of work, and only one that there is', () => {
  const config = loadConfig(written('clusters: { prod: {} }\n'), 'worker', {});
  expect([chosenQueues(config, {}), chosenQueues(config, { queue: 'diagnose' })]).toEqual([undefined, ['diagnose']]);
  expect(complaint(() => chosenQueues(config, { queue: 'remedies' }))).toBe('--queue remedies: it is diagnose or remediate.');
  expect(complaint(() => chosenQueues(config, { queue: 'remediate' }))).toBe(
    '--queue remediate: there is nothing to do, remedies.enabled is false in the configuration.',
  );
});
