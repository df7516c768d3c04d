import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type NetcheckProcess, runNetcheck, startNetcheck } from '../../test/netcheck.ts';
import { freePort, startRedis } from '../../test/redis.ts';
import { BOT_TOKEN, createHands, SIGNING_SECRET, startSlack, type TestSlack } from '../../test/slack.ts';

/*
 * The command line as processes: what it says, and with which status it ends, when it is used wrongly or when what it
 * needs is away.
 */

let folder: string;
let slack: TestSlack;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'netcheck-cli-'));
  slack = await startSlack({ users: { ann: {} }, channels: { incidents: {} } });
  writeFileSync(
    file('kubeconfig', ''),
    `apiVersion: v1
kind: Config
current-context: here
clusters: [{ name: here, cluster: { server: 'http://127.0.0.1:1' } }]
contexts: [{ name: here, context: { cluster: here, user: me } }]
users: [{ name: me, user: { token: t } }]
`,
  );
});

afterAll(async () => {
  await slack.close();
  rmSync(folder, { recursive: true });
});

const running: NetcheckProcess[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((child) => child.close()));
});

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const SECRETS = { NETCHECK_SLACK_SIGNING_SECRET: SIGNING_SECRET, NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN };

/** Starts a process that serves until it is stopped. */
function serve(argv: readonly string[], environment: NodeJS.ProcessEnv = SECRETS): NetcheckProcess {
  const child = startNetcheck(argv, { LOG_LEVEL: undefined, ...environment });
  running.push(child);
  return child;
}

/** Stops it as an orchestrator does, and returns its exit status. */
async function stopped(child: NetcheckProcess): Promise<number> {
  child.kill('SIGTERM');
  return child.exited;
}

/** What a command says that is used wrongly: nothing on standard output, exit status 3. */
async function refusal(argv: readonly string[], environment: NodeJS.ProcessEnv = SECRETS): Promise<string> {
  const { status, stdout, stderr } = await runNetcheck(argv, environment);
  expect({ status, stdout }).toEqual({ status: 3, stdout: '' });
  return stderr;
}

test.each(['bot', 'worker', 'all'])('netcheck %s with a wrong configuration says each line, and what to write', async (role) => {
  const config = file('wrong.yaml', 'slack:\n  prot: 3000\nclusters:\n  prod: { kubeconfig: [a] }\ntimeouts: { runMs: soon }\n');
  expect(await refusal([role, '--config', config])).toBe(
    `netcheck: the configuration cannot be used:
${config}:2:3: slack.prot is not known; did you mean "port"?
${config}:4:23: clusters.prod.kubeconfig has to be text, not a list
${config}:5:20: timeouts.runMs has to be a whole number, not the text "soon"
`,
  );
});

test.each(['bot', 'worker', 'all'])('netcheck %s without a configuration says how to begin', async (role) => {
  const config = join(folder, 'none.yaml');
  expect(await refusal([role, '--config', config])).toBe(
    `netcheck: the configuration cannot be read: ENOENT: no such file or directory, open '${config}'
Name another file with --config, or begin with a copy of netcheck.example.yaml.
`,
  );
});

test.each(['bot', 'all'])('netcheck %s without the secrets of Slack says which', async (role) => {
  const config = file('plain.yaml', 'clusters: { prod: {} }\n');
  const none = { NETCHECK_SLACK_SIGNING_SECRET: undefined, NETCHECK_SLACK_BOT_TOKEN: undefined };
  expect(await refusal([role, '--config', config], none)).toMatch(
    /^netcheck: the configuration cannot be used:\nenvironment: NETCHECK_SLACK_SIGNING_SECRET is not set: .*\nenvironment: NETCHECK_SLACK_BOT_TOKEN is not set: .*\n$/,
  );
});

test('a cluster that is not configured is refused with the one that was perhaps meant', async () => {
  const config = file('plain.yaml', 'clusters: { prod: {} }\n');
  expect(await refusal(['worker', '--config', config, '--cluster', 'prd'])).toBe(
    'netcheck: --cluster prd: the configuration has no such cluster. Did you mean prod?\n',
  );
});

/** Kubeconfigs that cannot be used, with what is said of them. */
const KUBECONFIGS: readonly (readonly [string, string | null, RegExp])[] = [
  ['is not there', null, /does not exist|no such file/i],
  ['is no YAML', 'clusters: [', /not YAML|line 1/],
  ['is another document', 'kind: Pod\n', /kubeconfig|cluster|context/],
  ['names a context that it has not', 'apiVersion: v1\nkind: Config\ncurrent-context: prod\n', /prod/],
];

test.each(KUBECONFIGS)('a kubeconfig that %s: run, worker and all say so', async (_, text, pattern) => {
  const path = join(folder, 'kube.yaml');
  rmSync(path, { force: true });
  if (text !== null) writeFileSync(path, text);
  const config = file('kube-netcheck.yaml', 'slack: { port: 0 }\nclusters: { prod: { kubeconfig: kube.yaml } }\n');
  const said = await Promise.all([
    refusal(['run', 'cluster', '--kubeconfig', path]),
    refusal(['worker', '--config', config]),
    refusal(['all', '--config', config]),
  ]);
  for (const message of said) {
    expect(message).toMatch(/^netcheck: /);
    expect(message).toContain(path);
    expect(message).toMatch(pattern);
    expect(message).not.toMatch(/\n {4}at /);
  }
  expect(said.slice(1).map((message) => message.startsWith('netcheck: cluster prod: '))).toEqual([true, true]);
});

test.each([
  [['run', 'service'], /^netcheck: run service: only cluster, node and pod can be run\.\n$/],
  [
    ['run', 'pod', 'web-1'],
    /^netcheck: run pod needs a namespace and the name of a pod in it: netcheck run pod NAMESPACE\/NAME\n$/,
  ],
  [['run', 'clutser'], /^netcheck: run clutser: .* Did you mean run cluster\?\n$/],
  [['run', 'node'], /^netcheck: run node needs the name of a node: netcheck run node NAME\n$/],
  [['run', 'cluster', 'prod'], /^netcheck: run cluster takes no name \(got "prod"\)\./],
  [['run', 'cluster', '--output', 'jsn'], /^netcheck: --output jsn: it is text, json or slack\. Did you mean json\?\n$/],
  [['replay', '/no/such/file'], /^netcheck: \/no\/such\/file cannot be read: ENOENT/],
  [['replay', 'package.json'], /^netcheck: package\.json is no evidence bundle of this version: /],
  [['replya', 'x'], /^netcheck: there is no command "replya"\. Did you mean netcheck replay\?/],
  [[], /^netcheck: no command was given/],
] as const)('netcheck %j is wrong usage', async (argv, message) => {
  expect(await refusal(argv)).toMatch(message);
});

test('a log level that there is not is refused before anything is started', async () => {
  const config = file('plain.yaml', 'clusters: { prod: {} }\n');
  expect(await refusal(['worker', '--config', config], { LOG_LEVEL: 'verbose' })).toMatch(
    /^netcheck: LOG_LEVEL=verbose: it is one of trace, /,
  );
});

test('a worker that finds no Redis says so, begins as soon as there is one, and stops when it is told', async () => {
  const redis = await startRedis();
  await redis.kill();
  const config = file('worker.yaml', `redis: { url: '${redis.url}' }\nclusters: { prod: { kubeconfig: kubeconfig } }\n`);
  try {
    const child = serve(['worker', '--config', config]);
    const [line] = await child.said(/^.*"Redis cannot be reached"\}$/m);
    expect(JSON.parse(line)).toMatchObject({ level: 'warn', redis: `127.0.0.1:${redis.port}` });
    await redis.restart();
    await child.said(/"msg":"worker started"/);
    expect([await stopped(child), child.stderr()]).toEqual([0, '']);
  } finally {
    await redis.close();
  }
});

test('a worker that never finds Redis stops all the same', async () => {
  const config = file(
    'no-redis.yaml',
    `redis: { url: 'redis://127.0.0.1:${await freePort()}' }\nclusters: { prod: { kubeconfig: kubeconfig } }\n`,
  );
  const child = serve(['worker', '--config', config]);
  await child.said(/"msg":"Redis cannot be reached"/);
  expect([await stopped(child), child.stderr()]).toEqual([0, '']);
});

test('a bot without Redis starts, refuses commands with the reason, and stops when it is told', async () => {
  const url = `redis://127.0.0.1:${await freePort()}`;
  const config = file(
    'bot.yaml',
    `slack: { port: 0, apiUrl: '${slack.apiUrl}' }\nredis: { url: '${url}' }\nclusters: { prod: {} }\n`,
  );
  const child = serve(['bot', '--config', config]);
  const [, port] = await child.said(/"port":(\d+)[^\n]*"msg":"bot started"/);
  const { status, text } = await createHands(slack, Number(port)).command('cluster', { user: 'ann', channel: 'incidents' });
  expect([status, text]).toEqual([200, expect.stringMatching(/^Not accepted.*Redis cannot be reached/s)]);
  expect([await stopped(child), child.stderr()]).toEqual([0, '']);
});

test('a bot whose token Slack refuses ends with 1 and says what to do, without the token', async () => {
  const config = file('token.yaml', `slack: { port: 0, apiUrl: '${slack.apiUrl}' }\nclusters: { prod: {} }\n`);
  slack.fail((method) => (method === 'auth.test' ? { kind: 'error', error: 'invalid_auth' } : null));
  const child = serve(['bot', '--config', config], { ...SECRETS, NETCHECK_SLACK_BOT_TOKEN: 'xoxb-of-nobody' });
  const status = await child.exited;
  slack.heal();
  const fatal = child
    .stdout()
    .split('\n')
    .filter((line) => line.includes('"fatal"'));
  expect([status, child.stderr(), fatal.map((line): unknown => JSON.parse(line))]).toEqual([
    1,
    '',
    [
      {
        level: 'fatal',
        time: expect.any(String),
        error: 'Slack refuses the bot token (invalid_auth): check NETCHECK_SLACK_BOT_TOKEN, or install the app again',
        msg: 'netcheck could not start',
      },
    ],
  ]);
  expect(child.stdout()).not.toContain('xoxb-of-nobody');
});
