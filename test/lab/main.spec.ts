import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../until.ts';
import { run } from './run.ts';
import { labExists, labsDirectory, readState } from './state.ts';

const MAIN = join(import.meta.dirname, 'main.ts');

function lab(...args: string[]): ReturnType<typeof run> {
  return run([process.execPath, MAIN, ...args]);
}

function newName(): string {
  return `spec-${randomBytes(4).toString('hex')}`;
}

/** The user namespace of a lab: every process of it is in that one, and no other process is. */
function userNamespace(name: string): string {
  return readlinkSync(`/proc/${readState(name).rack}/ns/user`);
}

/** How many processes are in a user namespace. */
function processesIn(namespace: string): number {
  return readdirSync('/proc').filter((pid) => {
    try {
      return readlinkSync(`/proc/${pid}/ns/user`) === namespace;
    } catch {
      return false;
    }
  }).length;
}

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('a lab from the command line', () => {
  const [first, second] = [newName(), newName()];
  let up: Awaited<ReturnType<typeof lab>>[] = [];

  beforeAll(async () => {
    up = await Promise.all([first, second].map((name) => lab('up', '--name', name, '--nodes', '2')));
  });

  afterAll(async () => {
    await Promise.all([first, second].map((name) => lab('down', name)));
  });

  test('up prints one JSON object as its last line', () => {
    expect(up.map(({ exitCode, stderr }) => ({ exitCode, stderr }))).toEqual(
      [first, second].map(() => ({ exitCode: 0, stderr: '' })),
    );
    const described = JSON.parse(up[0]?.stdout.trim().split('\n').at(-1) ?? '') as unknown;
    const pod = (namespace: string, name: string, node: string, ip: string): object => ({ namespace, name, node, ip });
    const onNode = (number: number, ip: string): object[] => [
      pod('default', `web-${number}`, `node-${number}`, `172.27.${number}.2`),
      pod('default', `client-${number}`, `node-${number}`, `172.27.${number}.3`),
      pod('netcheck-agents', `netcheck-probe-${number}`, `node-${number}`, `172.27.${number}.4`),
      pod('netcheck-agents', `netcheck-agent-${number}`, `node-${number}`, ip),
      pod('kube-flannel', `kube-flannel-ds-${number}`, `node-${number}`, ip),
      pod('kube-system', `kube-proxy-${number}`, `node-${number}`, ip),
    ];
    expect(described).toEqual({
      name: first,
      kubeconfig: join(labsDirectory(), first, 'kubeconfig'),
      nodes: [
        { name: 'node-1', ip: '10.28.87.59', mac: '02:00:0a:1c:57:3b', podCIDR: '172.27.1.0/24' },
        { name: 'node-2', ip: '10.28.87.60', mac: '02:00:0a:1c:57:3c', podCIDR: '172.27.2.0/24' },
      ],
      pods: [
        ...onNode(1, '10.28.87.59'),
        ...onNode(2, '10.28.87.60'),
        pod('kube-system', 'coredns-1', 'node-1', '172.27.1.5'),
        pod('kube-system', 'coredns-2', 'node-2', '172.27.2.6'),
      ],
    });
  });

  test('exec passes input, output, errors and exit status through, as root', async () => {
    const argv = [
      process.execPath,
      MAIN,
      'exec',
      first,
      'node-2',
      '--',
      'sh',
      '-c',
      'id -u; hostname; cat; echo oops >&2; exit 7',
    ];
    expect(await run(argv, { stdin: 'hello\n' })).toEqual({ exitCode: 7, stdout: '0\nnode-2\nhello\n', stderr: 'oops\n' });
  });

  test.each([
    ['node-1', 'eth0 10.28.87.59/16'],
    ['default/web-2', 'eth0 172.27.2.2/24'],
    ['kube-system/kube-proxy-2', 'eth0 10.28.87.60/16'],
    ['cp', 'eth0 10.28.0.2/16'],
  ])('exec in %s is in its network namespace', async (where, expected) => {
    const { stdout } = await lab('exec', first, where, '--', 'ip', '-br', 'address', 'show', 'eth0');
    expect(
      stdout
        .replace('@if', ' ')
        .split(/\s+/)
        .filter((word) => word === 'eth0' || word.includes('/'))
        .join(' '),
    ).toBe(expected);
  });

  test("the rack's ports carry the nodes' names", async () => {
    const { stdout } = await lab('exec', first, 'rack', '--', 'ls', '/sys/class/net/rack0/brif');
    expect(stdout.trim().split('\n').sort()).toEqual(['cp', 'gw', 'node-1', 'node-2']);
  });

  test('two labs have the same addresses and know nothing of each other', async () => {
    const down = await lab('exec', first, 'rack', '--', 'ip', 'link', 'set', 'node-2', 'down');
    const ping = ['--', 'fping', '-q', '-r', '1', '-t', '300', '10.28.87.60'];
    const [inFirst, inSecond] = await Promise.all([first, second].map((name) => lab('exec', name, 'node-1', ...ping)));
    await lab('exec', first, 'rack', '--', 'ip', 'link', 'set', 'node-2', 'up');
    expect([down.exitCode, inFirst?.exitCode, inSecond?.exitCode]).toEqual([0, 1, 0]);
  });

  test('what a node writes stays in that node', async () => {
    const files = [
      '/etc/sysctl.d/99-spec.conf',
      '/usr/lib/sysctl.d/99-spec.conf',
      '/var/lib/spec',
      `/tmp/spec-${process.pid}`,
      '/spec',
    ];
    const write = files.map((file) => `echo 'net.ipv4.ip_forward = 0' > ${file}`).join('; ');
    const wrote = await lab(
      'exec',
      first,
      'node-1',
      '--',
      'sh',
      '-c',
      `${write}; sysctl -q -p ${files[0]}; cat /proc/sys/net/ipv4/ip_forward`,
    );
    const list = ['sh', '-c', `ls ${files.join(' ')} 2>/dev/null; cat /proc/sys/net/ipv4/ip_forward`];
    const elsewhere = await Promise.all([
      lab('exec', first, 'node-2', '--', ...list),
      lab('exec', first, 'rack', '--', ...list.slice(0, 2), 'ls /spec'),
    ]);
    const here = await run(['ls', ...files]);
    expect([wrote.stdout, elsewhere[0]?.stdout, elsewhere[1]?.stdout, here.stdout]).toEqual(['0\n', '1\n', '', '']);
  });

  test('nothing outside its own network can be set in a node', async () => {
    const { stdout } = await lab(
      'exec',
      first,
      'node-1',
      '--',
      'sh',
      '-c',
      'for f in vm/swappiness kernel/hostname fs/file-max; do [ ! -w /proc/sys/$f ] || echo $f; done',
    );
    expect(stdout).toBe('');
  });

  test.each([
    [
      ['exec', 'no-such-lab', 'node-1', '--', 'true'],
      /^lab: there is no lab named 'no-such-lab' \(running: .*spec-.*\)\. Start one with: /,
    ],
    [['exec', first, 'node-12', '--', 'true'], /^lab: the lab has no place 'node-12': did you mean node-1 or node-2\?\n$/],
    [
      ['exec', first, 'default/web-3', '--', 'true'],
      /^lab: the lab has no pod 'default\/web-3': did you mean default\/web-1 or default\/web-2\?\n$/,
    ],
    [['exec', first, 'node-1', 'true'], /^lab: exec takes a lab, a place and, after --, a command\nusage:/],
    [['fault', first, 'ip-foward-off'], /^lab: there is no fault 'ip-foward-off'\. Did you mean ip-forward-off\? List them/],
    [
      ['fault', first, 'ip-forward-off', '--node', 'node-7'],
      /^lab: the lab has no node 'node-7': did you mean node-1 or node-2\?\n$/,
    ],
    [['fault', first, 'icmp-filtered', '--node', 'node-1'], /^lab: icmp-filtered concerns the whole lab: it takes no node\n$/],
    [['heal', first, 'coredns-down'], /^lab: coredns-down is not in this lab \(there: none\)\n$/],
    [
      ['up', '--name', first],
      /^lab: a lab named spec-\w+ is there already: take another name, or end it with: npm run lab -- down spec-\w+\n$/,
    ],
    [['up', '--name', 'no/name'], /^lab: 'no\/name' is no name for a lab/],
    [['up', '--nodes', 'six'], /^lab: --nodes takes a whole number of 1 or more, not 'six'\n$/],
    [['up', '--nodes', '9999'], /^lab: a lab has 1 to 1000 nodes, not 9999\n$/],
    [['pu'], /^lab: no command 'pu', did you mean up\?\nusage:/],
    [['down', 'no-such-lab'], /^lab: there is no lab named 'no-such-lab'/],
  ])('%j says what is wrong', async (args, message) => {
    const { exitCode, stdout, stderr } = await lab(...args);
    expect(stderr).toMatch(message);
    expect([exitCode === 0, stdout]).toEqual([false, '']);
  });

  test('a fault is put in, listed as there, and healed', async () => {
    const read = ['exec', first, 'node-2', '--', 'cat', '/proc/sys/net/ipv4/ip_forward'];
    const put = await lab('fault', first, 'ip-forward-off', '--node', 'node-2');
    const during = await lab(...read);
    const again = await lab('fault', first, 'ip-forward-off', '--node', 'node-2');
    const healed = await lab('heal', first, 'ip-forward-off');
    const after = await lab(...read);
    expect([put.stdout, during.stdout, again.stderr, healed.exitCode, after.stdout]).toEqual([
      'ip_forward is 0 on a node, set at runtime: put in on node-2\n',
      '0\n',
      'lab: ip-forward-off is there already: heal it first\n',
      0,
      '1\n',
    ]);
  });
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('of a lab that has ended nothing is left', () => {
  test.each([
    ['down', async (name: string) => void (await lab('down', name))],
    ['kill -9 of its supervisor', async (name: string) => void process.kill(readState(name).supervisor.pid, 'SIGKILL')],
    ["the end of its rack's first process", async (name: string) => void process.kill(readState(name).rack, 'SIGKILL')],
  ])('after %s', async (_how, end) => {
    const name = newName();
    expect(await lab('up', '--name', name, '--nodes', '2')).toMatchObject({ exitCode: 0, stderr: '' });
    const namespace = userNamespace(name);
    const before = processesIn(namespace);
    await end(name);
    await until(() => processesIn(namespace) === 0 && !labExists(name), 'the end of the lab');
    // The name can be used again.
    const { exitCode } = await lab('up', '--name', name, '--nodes', '1');
    await lab('down', name);
    expect([before > 10, exitCode]).toEqual([true, 0]);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGKILL'] as const)('after %s to `up` while it builds', async (signal) => {
    const name = newName();
    const child = spawn(process.execPath, [MAIN, 'up', '--name', name, '--nodes', '4'], { stdio: 'ignore' });
    const namespace = await until(() => namespaceOfRack(child, name), 'the namespaces of the lab');
    child.kill(signal);
    await until(() => processesIn(namespace) === 0 && !labExists(name), 'the end of the lab');
    expect(processesIn(namespace)).toBe(0);
  });
});

/** The user namespace of a lab that is being built: that of a child of its supervisor which has another than this one. */
function namespaceOfRack(up: ChildProcess, name: string): string | null {
  try {
    const { pid } = JSON.parse(readFileSync(join(labsDirectory(), name, 'owner'), 'utf8')) as { pid: number };
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    const own = readlinkSync(`/proc/${up.pid}/ns/user`);
    return children.map((child) => readlinkSync(`/proc/${child}/ns/user`)).find((namespace) => namespace !== own) ?? null;
  } catch {
    return null;
  }
}
