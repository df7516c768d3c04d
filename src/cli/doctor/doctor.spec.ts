import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { makeApprovalKeys } from '../../../test/action.ts';
import { temporaryFolder } from '../../../test/folder.ts';
import { createLab, type Lab } from '../../../test/lab/lab.ts';
import { type NetcheckResult, runNetcheck } from '../../../test/netcheck.ts';
import { startRedis, type TestRedis } from '../../../test/redis.ts';
import { APP_TOKEN, BOT_TOKEN, SCOPES, SIGNING_SECRET, startSlack, type TestSlack } from '../../../test/slack.ts';
import { ALIVE_MS } from '../../jobs/worker.ts';
import { closeRedis, connectRedis } from '../../store/redis.ts';
import { createWorkerStore } from '../../store/workers.ts';
import { readVersion } from '../version.ts';
import { checkNode } from './installation.ts';

const Report = z.object({
  ok: z.boolean(),
  sections: z.array(
    z.object({
      title: z.string(),
      items: z.array(z.object({ state: z.string(), message: z.string(), fix: z.string().optional() })),
    }),
  ),
});

const SECRETS = {
  NETCHECK_SLACK_SIGNING_SECRET: SIGNING_SECRET,
  NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN,
  NETCHECK_SLACK_APP_TOKEN: APP_TOKEN,
  NETCHECK_APPROVAL_KEY: undefined,
  NETCHECK_REDIS_PASSWORD: undefined,
};
const NO_SECRETS = Object.fromEntries(Object.keys(SECRETS).map((name) => [name, undefined]));
const VERSION = readVersion();
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

const folder = temporaryFolder();
let redis: TestRedis;
let slack: TestSlack;

beforeAll(async () => {
  [redis, slack] = await Promise.all([startRedis(), startSlack({ users: { ann: {} }, channels: { incidents: {} } })]);
});

afterAll(async () => {
  await Promise.all([redis?.close(), slack?.close()]);
});

/** Writes a configuration; returns its path. */
function file(text: string): string {
  const path = join(folder, 'netcheck.yaml');
  writeFileSync(path, text);
  return path;
}

function config(url: string, more = ''): string {
  return file(
    `slack: { mode: socket, apiUrl: '${slack.apiUrl}' }\nredis: { url: '${url}' }\nclusters: { prod: { kubeconfig: none } }\n${more}`,
  );
}

/** `netcheck doctor` for a role, as JSON, with what is left of each section: `STATE MESSAGE`, and `→ FIX` after it. */
async function ask(role: string, path: string, environment: NodeJS.ProcessEnv = SECRETS) {
  const { status, stdout, stderr } = await runNetcheck(
    ['doctor', '--config', path, '--for', role, '--output', 'json'],
    environment,
  );
  expect(stderr).toBe('');
  const report = Report.parse(JSON.parse(stdout));
  expect(report.ok).toBe(status === 0);
  const sections = Object.fromEntries(
    report.sections.map(({ title, items }) => [
      title,
      items.flatMap(({ state, message, fix }) => [`${state} ${stable(message)}`, ...(fix === undefined ? [] : [`→ ${fix}`])]),
    ]),
  );
  return { status, sections };
}

/** Takes out what differs from machine to machine. */
function stable(text: string): string {
  return text
    .replaceAll(/within \d+ (ms|s)/g, 'within N $1')
    .replaceAll(/(Redis|Node) \d+\.[\d.]+/g, '$1 N')
    .replaceAll(/127\.0\.0\.1:\d+/g, 'HERE')
    .replaceAll(/\d+ MiB/g, 'N MiB')
    .replaceAll(folder, 'FOLDER');
}

test.each([
  [['--for', 'wroker'], 'netcheck: --for wroker: it is bot, worker or all. Did you mean worker?\n'],
  [['--output', 'jsn'], 'netcheck: --output jsn: it is text or json. Did you mean json?\n'],
  [
    ['--for', 'worker', '--cluster', 'prd'],
    'netcheck: --cluster prd: the configuration has no such cluster. Did you mean prod?\n',
  ],
])('wrong usage %j is refused with exit status 3', async (argv, stderr) => {
  const path = config(redis.url);
  const expected: NetcheckResult = { status: 3, stdout: '', stderr };
  expect(await runNetcheck(['doctor', '--config', path, ...argv], SECRETS)).toEqual(expected);
});

test('a Node that is too old', () => {
  expect(checkNode('22.18.0')).toMatchObject({ state: 'failed', message: 'Node 22.18.0 is too old' });
});

test('a bot for which all is right', async () => {
  const client = connectRedis(redis.url, 'patient', silent);
  await createWorkerStore(client, 'prod', ALIVE_MS).beat({ id: 'w1', version: VERSION, running: [] });
  const before = (await client.keys('*')).toSorted();
  const { status, stdout } = await runNetcheck(['doctor', '--config', config(redis.url), '--for', 'bot'], SECRETS);
  expect(stable(stdout)).toBe(`Installation
  ok           Node N
  ok           FOLDER/netcheck.yaml can be used
  ok           set in the environment: NETCHECK_SLACK_SIGNING_SECRET, NETCHECK_SLACK_BOT_TOKEN, NETCHECK_SLACK_APP_TOKEN
  ok           remedies are off: netcheck only diagnoses

Slack
  ok           the bot token is that of netcheck in Test
  ok           the bot token has the 11 scopes that are needed, and no others
  ok           the clock agrees with Slack's to within N s
  ok           the app-level token opens connections for Socket Mode

Redis
  ok           Redis at HERE answers within N ms
  ok           Redis N
  ok           appendonly yes
  ok           appendfsync always
  ok           maxmemory-policy noeviction
  ok           N MiB of N MiB are used (the machine's memory; maxmemory is not set)
  warning      user default may touch every key, those of others too
               → ACL SETUSER netcheck-bot on >PASSWORD ~nc-bot:* &nc-bot:* ~nc:* &nc:* +@all -@admin -@dangerous +info +client|setname     in redis-cli, then write the user into redis.url
  ok           queue diagnose of prod: 0 waiting, 0 active
  ok           1 worker serves diagnose of prod

16 ok, 0 failed, 1 warning, 0 not checked
`);
  expect(status).toBe(0);
  // Nothing was written.
  expect((await client.keys('*')).toSorted()).toEqual(before);
  closeRedis(client);
});

test('tokens that are refused, scopes that are missing or too many, and a clock that is wrong', async () => {
  const path = config(redis.url);
  const ofSlack = async (environment: NodeJS.ProcessEnv = SECRETS) => (await ask('bot', path, environment)).sections['Slack'];
  slack.setHeaders({
    'x-oauth-scopes': [...SCOPES.filter((scope) => scope !== 'files:write'), 'admin'].join(','),
    date: new Date(Date.now() - 3_600_000).toUTCString(),
  });
  const wrong = await ofSlack({ ...SECRETS, NETCHECK_SLACK_APP_TOKEN: 'xapp-other' });
  slack.setHeaders({ 'x-oauth-scopes': [...SCOPES, 'admin'].join(','), date: new Date(Date.now() + 120_000).toUTCString() });
  const odd = await ofSlack();
  slack.setHeaders({ 'x-oauth-scopes': SCOPES.join(','), date: new Date().toUTCString() });
  slack.fail((method) => (method === 'auth.test' ? { kind: 'error', error: 'invalid_auth' } : null));
  const refused = await ofSlack();
  slack.heal();
  expect(wrong).toEqual([
    'ok the bot token is that of netcheck in Test',
    'failed the bot token lacks the scopes files:write',
    '→ add files:write at https://api.slack.com/apps → the app → OAuth & Permissions → Bot Token Scopes, then reinstall the app to the workspace',
    expect.stringMatching(
      /^failed the clock of this machine is 3\d\d\d s ahead of Slack's: requests that Slack signs are refused as too old$/,
    ),
    '→ timedatectl set-ntp true     on this machine',
    'failed Slack refuses the app-level token: invalid_auth',
    '→ make a token with the scope connections:write at https://api.slack.com/apps → the app → Basic Information → App-Level Tokens, switch on Socket Mode, and write the token into NETCHECK_SLACK_APP_TOKEN',
  ]);
  expect(odd?.filter((line) => line.startsWith('warning'))).toEqual([
    'warning the bot token has scopes that netcheck does not use: admin',
    expect.stringMatching(/^warning the clock of this machine is 1\d\d s behind Slack's; from 300 s on, requests are refused$/),
  ]);
  expect(refused?.slice(0, 3)).toEqual([
    'failed Slack refuses the bot token: invalid_auth',
    '→ write the Bot User OAuth Token (xoxb-…, OAuth & Permissions) into NETCHECK_SLACK_BOT_TOKEN, and install the app to the workspace again if it was removed',
    'not-checked the scopes of the bot token: Slack tells them only for a token that it takes',
  ]);
});

test('a Redis with its own settings fails', async () => {
  const other = await startRedis(['--appendonly', 'no', '--appendfsync', 'everysec', '--maxmemory-policy', 'allkeys-lru']);
  const { status, sections } = await ask('bot', config(other.url));
  await other.close();
  expect([status, sections['Redis']?.slice(2, 8)]).toEqual([
    1,
    [
      'failed appendonly is no and has to be yes: accepted runs are lost when Redis restarts',
      '→ redis-cli CONFIG SET appendonly yes && redis-cli CONFIG REWRITE     as an administrator of Redis',
      'failed appendfsync is everysec and has to be always: what was just accepted is lost when its machine fails',
      '→ redis-cli CONFIG SET appendfsync always && redis-cli CONFIG REWRITE     as an administrator of Redis',
      'failed maxmemory-policy is allkeys-lru and has to be noeviction: a full Redis throws away runs and approvals',
      '→ redis-cli CONFIG SET maxmemory-policy noeviction && redis-cli CONFIG REWRITE     as an administrator of Redis',
    ],
  ]);
});

test('a user who is confined as the documents say; a password that is wrong is not printed', async () => {
  const client = connectRedis(redis.url, 'patient', silent);
  const rights = '~nc-bot:* ~nc:* &nc-bot:* &nc:* +@all -@admin -@dangerous +info +client|setname'.split(' ');
  // No worker of an earlier test is to be seen.
  await client.flushall();
  await client.call('ACL', 'SETUSER', 'netcheck-bot', 'on', '>the-password', ...rights);
  closeRedis(client);
  const path = config(redis.url.replace('//', '//netcheck-bot@'));
  const { sections } = await ask('bot', path, { ...SECRETS, NETCHECK_REDIS_PASSWORD: 'the-password' });
  expect(sections['Redis']?.slice(2)).toEqual([
    'ok appendonly yes',
    expect.stringMatching(/^not-checked appendfsync: this user may not read it \(NOPERM /),
    '→ redis-cli CONFIG GET appendfsync     as an administrator of Redis; it has to say always',
    'ok maxmemory-policy noeviction',
    "ok N MiB of N MiB are used (the machine's memory; maxmemory is not set)",
    "ok user netcheck-bot is confined to netcheck's keys",
    'ok queue diagnose of prod: 0 waiting, 0 active',
    'warning no worker has ever served diagnose of prod',
    expect.stringMatching(/^→ netcheck worker --config \S+ --cluster prod --queue diagnose /),
  ]);
  const wrong = await runNetcheck(['doctor', '--config', path, '--for', 'bot'], {
    ...SECRETS,
    NETCHECK_REDIS_PASSWORD: 'canary-password',
  });
  expect(wrong.status).toBe(1);
  expect(wrong.stdout).toMatch(/failed {7}Redis at \S+ refuses the login: WRONGPASS/);
  expect(wrong.stdout + wrong.stderr).not.toContain('canary');
});

test('without its secrets everything else is looked at all the same; nobody is there', async () => {
  const path = file(`slack: { mode: socket }\nredis: { url: 'redis://127.0.0.1:1' }\nclusters: { prod: { kubeconfig: none } }\n`);
  const { status, sections } = await ask('all', path, NO_SECRETS);
  expect([status, sections]).toEqual([
    1,
    {
      Installation: [
        'ok Node N',
        'failed environment: NETCHECK_SLACK_BOT_TOKEN is not set: it has to hold the bot token of the Slack app, xoxb-… (OAuth & Permissions)',
        '→ set it in the environment of the process (deploy: its Secret)',
        'failed environment: NETCHECK_SLACK_APP_TOKEN is not set: it has to hold the app-level token of the Slack app with the scope connections:write, xapp-… (Basic Information)',
        '→ set it in the environment of the process (deploy: its Secret)',
        'ok remedies are off: netcheck only diagnoses',
      ],
      Slack: ['not-checked the configuration cannot be used'],
      Redis: [
        expect.stringMatching(/^failed Redis at HERE cannot be used: .*ECONNREFUSED/),
        '→ set redis.url, and try it from this machine: redis-cli -h 127.0.0.1 -p 1 --askpass PING',
      ],
      'Cluster prod': [
        expect.stringMatching(/^failed FOLDER\/none: /),
        '→ set clusters.prod.kubeconfig in netcheck.yaml to a file that kubectl can use',
      ],
    },
  ]);
});

test('the halves of the key for approvals, and the audit', async () => {
  const [ours, other] = [makeApprovalKeys(), makeApprovalKeys()];
  const remedies = `remedies: { enabled: true, publicKeyFile: approval.pub, auditFile: ${folder}/no/audit.jsonl }\n`;
  const of = async (publicKey: string, privateKey: string) => {
    writeFileSync(join(folder, 'approval.pub'), publicKey);
    const path = config(redis.url, remedies);
    const { sections } = await ask('all', path, { ...SECRETS, NETCHECK_APPROVAL_KEY: privateKey });
    return sections['Installation']?.slice(3).filter((line) => !line.startsWith('→'));
  };
  expect(await of(ours.publicKey, ours.privateKey)).toEqual([
    'ok remedies are on',
    'ok FOLDER/approval.pub belongs to NETCHECK_APPROVAL_KEY',
    expect.stringMatching(/^failed the audit cannot be made: ENOENT/),
  ]);
  expect((await of(other.publicKey, ours.privateKey))?.[1]).toBe(
    'failed FOLDER/approval.pub does not belong to NETCHECK_APPROVAL_KEY: every approval would be refused',
  );
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('a cluster', () => {
  let lab: Lab;
  let path: string;
  const ROLE = '/apis/rbac.authorization.k8s.io/v1/clusterroles/netcheck-read';

  beforeAll(async () => {
    lab = await createLab({ nodes: 2 });
    path = file(
      `redis: { url: '${redis.url}' }\nclusters: { lab: { kubeconfig: ${lab.kubeconfig}, context: ${lab.name}-worker } }\n`,
    );
  });

  afterAll(async () => {
    await lab?.down();
  });

  async function ofCluster(): Promise<readonly string[]> {
    return (await ask('worker', path, NO_SECRETS)).sections['Cluster lab'] ?? [];
  }

  test('in which all is right', async () => {
    expect(await ofCluster()).toEqual([
      expect.stringMatching(/^ok the API server at https:\/\/\S+ answers: Kubernetes v1\./),
      'ok that address does not depend on the network that is diagnosed',
      expect.stringMatching(/^ok all \d+ rights that are needed are there$/),
      'ok what it must not do is denied: get secrets, list secrets, create pods, create pods/exec in kube-system',
      'ok netcheck-agent runs on every Linux node (2)',
      'ok netcheck-probe runs on every Linux node (2)',
      `ok 2 agents answer in version ${VERSION}`,
      expect.stringMatching(/^ok the agents have all \d+ tools$/),
    ]);
  });

  test('with an agent and a right missing, too many rights, and an API server behind its own Service', async () => {
    await lab.fault('agent-missing', { node: 'node-2' });
    const Role = z.looseObject({ rules: z.array(z.looseObject({ resources: z.array(z.string()) })) });
    const role = Role.parse((await lab.api('GET', ROLE)).body);
    const rules = role.rules.filter(({ resources }) => !resources.includes('networkpolicies'));
    expect(rules.length).toBe(role.rules.length - 1);
    const secrets = { apiGroups: [''], resources: ['secrets'], verbs: ['list'] };
    await lab.api('PUT', ROLE, { ...role, rules: [...rules, secrets] });
    // The address that the kubeconfig has becomes that of the Service.
    const { host } = new URL(/server: (\S+)/.exec(readFileSync(lab.kubeconfig, 'utf8'))?.[1] ?? '');
    const at = '/api/v1/namespaces/default/services/kubernetes';
    const service = z.looseObject({ spec: z.looseObject({}) }).parse((await lab.api('GET', at)).body);
    await lab.api('PUT', at, { ...service, spec: { ...service.spec, clusterIP: host.replace(/:\d+$/, '') } });
    const found = await ofCluster();
    expect(found.slice(1, 3)).toEqual([
      expect.stringMatching(/^warning \S+ is the ClusterIP or the name of the Service default\/kubernetes: /),
      expect.stringMatching(
        /^→ write KUBERNETES_SERVICE_HOST=[\d.]+ and KUBERNETES_SERVICE_PORT=\d+ into api-server\.env of the overlay/,
      ),
    ]);
    expect(found.slice(3)).toEqual([
      'failed no right to list networkpolicies, which is needed for: which connections are meant to fail: those are no symptoms',
      '→ kubectl apply -k OVERLAY (the rules are in deploy/base/cluster); then kubectl auth can-i list networkpolicies.networking.k8s.io -A --as system:serviceaccount:netcheck:netcheck-worker     has to say yes',
      'warning netcheck may do more than it needs: list secrets',
      expect.stringMatching(/^→ let it use the ServiceAccount/),
      'failed netcheck-agent does not run on node-2: nothing is known of it',
      '→ kubectl -n netcheck-agents describe daemonset netcheck-agent; kubectl -n netcheck-agents get pods -o wide',
      'ok netcheck-probe runs on every Linux node (2)',
      `ok 1 agent answers in version ${VERSION}`,
      expect.stringMatching(/^ok the agents have all \d+ tools$/),
    ]);
  });
});
