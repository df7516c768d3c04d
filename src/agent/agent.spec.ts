import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { createServer as createTlsServer } from 'node:tls';
import { decode, encode } from 'dns-packet';
import { afterEach, expect, test } from 'vitest';
import { createCertificates } from '../../test/lab/api/certificates.ts';
import type { Evidence } from '../model/evidence.ts';
import { ExchangeOutcome, type FromAgent, Listening, type Operation, type Task } from '../model/wire/agent.ts';
import { createFrameReader, encodeFrame, MAX_FRAME_BYTES } from '../model/wire/frames.ts';
import { serve } from './agent.ts';
import { readFiles } from './files.ts';
import { templateOf } from './template.ts';

const PRINTED = ['printf', 'tcp 1 a=1\\ntcp 2 a=2\\nudp 3 a=1\\nelse\\ntcp 4 a=1'] as const;
const COMMANDS = [['echo', 'hello'], ['sleep', '60'], ['yes'], ['sh', '-c', 'echo oops >&2; exit 3'], ['no-such-command']];
const FILES = [['/etc/hostname'], ['/no/such/file'], ['/etc/no-such-directory/*.conf', '/etc/hostname']];

const TALLY = '^(?<name>\\w+) \\d+ (?:a=1|a=(?<more>\\d))';
const NEEDY = ['/proc/self/stat', '/proc/no-such-file'].map((needs) => templateOf({ argv: ['echo', 'hello'], needs }));
const LOG = ['/etc/log', '/dev/kmsg'];

const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

/** An agent in this process, driven through its streams. */
function start() {
  const input = new PassThrough();
  const output = new PassThrough();
  const ended = Promise.withResolvers<number>();
  const results = new Map<string, Evidence>();
  const rounds = new Map<number, () => void>();
  const ready = Promise.withResolvers<FromAgent>();
  const frames = createFrameReader(MAX_FRAME_BYTES);
  output.on('data', (chunk: Buffer) => {
    const messages = frames.push(chunk);
    if ('kind' in messages) throw new Error(messages.message);
    for (const message of messages as FromAgent[]) {
      if (message.type === 'ready') ready.resolve(message);
      if (message.type === 'result') results.set(message.key, message.evidence);
      if (message.type === 'done') rounds.get(message.round)?.();
    }
  });
  serve({
    version: '1.2.3',
    templates: {
      commands: new Set([...COMMANDS.map((argv) => templateOf({ argv })), templateOf({ argv: PRINTED, tally: TALLY }), ...NEEDY]),
      files: new Set([...FILES.map((files) => templateOf({ files })), templateOf({ files: LOG, lines: 'full|^==' })]),
    },
    input,
    output,
    root: '/',
    self: ['false'],
    onEnd: ended.resolve,
  });
  let round = 0;
  const perform = (operations: Readonly<Record<string, Operation>>, limits: Partial<Task> = {}): Promise<void> => {
    const id = round;
    round += 1;
    const done = new Promise<void>((resolve) => rounds.set(id, resolve));
    const tasks = Object.entries(operations).map(([key, operation]) => ({
      key,
      operation,
      deadlineMs: 5000,
      maxBytes: 100_000,
      ...limits,
    }));
    input.write(encodeFrame({ type: 'do', round: id, tasks }));
    return done;
  };
  cleanups.push(() => input.end());
  return { input, ready: ready.promise, ended: ended.promise, results, perform };
}

const run = (...argv: string[]): Operation => ({ op: 'run', in: 'node', argv });

test('says first which protocol and version it speaks', async () => {
  expect(await start().ready).toEqual({ type: 'ready', protocol: 2, version: '1.2.3' });
});

test('runs commands side by side and returns what each said and how it ended', async () => {
  const { perform, results } = start();
  await perform({ good: run('echo', 'hello'), bad: run('sh', '-c', 'echo oops >&2; exit 3'), missing: run('no-such-command') });
  expect(results.get('good')).toMatchObject({
    argv: ['echo', 'hello'],
    exitCode: 0,
    stdout: 'hello\n',
    stderr: '',
    truncated: false,
  });
  expect(results.get('bad')).toMatchObject({ exitCode: 3, stderr: 'oops\n', truncated: false });
  expect(results.get('missing')).toMatchObject({ exitCode: null, fault: 'not-found' });
});

test('kills a command at its deadline, and one that says too much', async () => {
  const { perform, results } = start();
  await perform({ slow: run('sleep', '60') }, { deadlineMs: 50 });
  await perform({ loud: run('yes') }, { maxBytes: 1000 });
  expect(results.get('slow')).toMatchObject({ exitCode: null, fault: 'timeout' });
  expect(results.get('loud')).toMatchObject({ exitCode: null, truncated: true });
  expect(results.get('loud')?.stdout).toHaveLength(1000);
});

test('reads files; a missing one is said to be missing, a missing drop-in directory is not', async () => {
  const { perform, results } = start();
  const read = (...files: string[]): Operation => ({ op: 'read', in: 'node', files });
  await perform({
    one: read('/etc/hostname'),
    none: read('/no/such/file'),
    many: read('/etc/no-such-directory/*.conf', '/etc/hostname'),
  });
  expect(results.get('one')).toMatchObject({ argv: ['cat', '/etc/hostname'], exitCode: 0, truncated: false });
  expect(results.get('none')).toMatchObject({ exitCode: 1, stderr: 'cat: /no/such/file: No such file or directory' });
  expect(results.get('many')?.stdout).toBe(`==> /etc/hostname <==\n${results.get('one')?.stdout}`);
});

test('counts the lines of long output instead of keeping them', async () => {
  const { perform, results } = start();
  await perform({ tally: { op: 'run', in: 'node', argv: [...PRINTED], tally: TALLY }, whole: run(...PRINTED) });
  expect(results.get('tally')).toMatchObject({
    argv: PRINTED,
    exitCode: 0,
    truncated: false,
    stdout: '2 tcp -\n1 ?\n1 tcp 2\n1 udp -\n',
  });
  expect(results.get('whole')?.fault).toBe('denied');
});

test('runs what needs a file only where the file is', async () => {
  const { perform, results } = start();
  const echo = run('echo', 'hello') as Extract<Operation, { op: 'run' }>;
  await perform({ there: { ...echo, needs: '/proc/self/stat' }, missing: { ...echo, needs: '/proc/no-such-file' } });
  expect(results.get('there')).toMatchObject({ argv: ['echo', 'hello'], exitCode: 0, stdout: 'hello\n' });
  expect(results.get('missing')).toMatchObject({
    argv: ['echo', 'hello'],
    exitCode: 1,
    stdout: '',
    stderr: 'cat: /proc/no-such-file: No such file or directory',
  });
});

test('reads of a log what is there now, and keeps the lines asked for', async () => {
  const root = mkdtempSync(join(tmpdir(), 'netcheck-'));
  cleanups.push(() => rmSync(root, { recursive: true }));
  for (const [name, text] of [
    ['etc/log', 'table full\nother\n'],
    ['dev/kmsg', '4,1,2,-;one\n4,2,3,-;table full\n KEY=value\n'],
  ] as const) {
    mkdirSync(join(root, name, '..'), { recursive: true });
    writeFileSync(join(root, name), text);
  }
  expect(readFiles(LOG, root, { deadlineMs: 1000, maxBytes: 1000 }, 'full')).toMatchObject({
    stdout: '==> /etc/log <==\ntable full\n==> /dev/kmsg <==\n4,2,3,-;table full\n',
    exitCode: 0,
  });
  expect(readFiles(LOG, root, { deadlineMs: 1000, maxBytes: 20 }, 'full')).toMatchObject({ truncated: true, exitCode: null });
  expect(readFiles(['/dev/zero'], '/', { deadlineMs: 1000, maxBytes: 20 })).toMatchObject({ truncated: true });
});

test('refuses what is no template of the catalogue, and values that are not what they should be', async () => {
  const { perform, results } = start();
  await perform({
    command: run('rm', '-rf', '/'),
    almost: run('echo', 'hello', 'world'),
    file: { op: 'read', in: 'node', files: ['/etc/shadow'] },
    address: {
      op: 'ping',
      in: 'node',
      targets: ['-f'],
      count: 1,
      everyMs: 1,
      timeoutMs: 1,
      bytes: 84,
      df: false,
      until: 'sent',
    },
    device: { op: 'arp', in: 'node', dev: 'eth0; reboot', targets: ['127.0.0.1'] },
    ownDevice: { op: 'own-address', in: 'node', dev: 'eth0 -U', ip: '127.0.0.1' },
    ownAddress: { op: 'own-address', in: 'node', dev: 'eth0', ip: '-U' },
    flood: { op: 'send', in: 'node', token: 't', targets: [{ id: '0', ip: '127.0.0.1', port: 9 }], count: 1_000_000, everyMs: 0 },
    uid: { op: 'find', in: 'node', uid: '../../1' },
  });
  const denied = [...results].filter(([, evidence]) => evidence.fault === 'denied').map(([key]) => key);
  expect(denied.toSorted()).toEqual([
    'address',
    'almost',
    'command',
    'device',
    'file',
    'flood',
    'ownAddress',
    'ownDevice',
    'uid',
  ]);
});

test('tells the ways apart in which an exchange can end', async () => {
  const http = createHttpServer((_request, response) => response.writeHead(503).end());
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const closedPort = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  const silent = createServer((socket) => socket.on('error', () => socket.destroy()).pause());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { cert, key } = createCertificates(['tls.test'], new Date());
  const tls = createTlsServer({ cert, key });
  tls.on('tlsClientError', (_error, socket) => socket.destroy());
  await new Promise<void>((resolve) => tls.listen(0, '127.0.0.1', resolve));
  const dns = createSocket('udp4');
  dns.on('message', (message, from) => {
    const query = decode(message);
    const name = query.questions?.[0]?.name ?? '';
    // The response code is the low four bits of the flags (RFC 1035): 3 is NXDOMAIN.
    const answers = name === 'known.test' ? [{ type: 'A' as const, name, ttl: 1, data: '192.0.2.7' }] : [];
    dns.send(
      encode({
        type: 'response',
        id: query.id ?? 0,
        flags: answers.length > 0 ? 0 : 3,
        questions: query.questions ?? [],
        answers,
      }),
      from.port,
      from.address,
    );
  });
  await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
  cleanups.push(
    () => http.close(),
    () => silent.close(),
    () => tls.close(),
    () => dns.close(),
  );
  const ports = {
    http: (http.address() as AddressInfo).port,
    silent: (silent.address() as AddressInfo).port,
    tls: (tls.address() as AddressInfo).port,
    dns: dns.address().port,
  };
  const { perform, results } = start();
  const ip = '127.0.0.1';
  await perform({
    all: {
      op: 'exchange',
      in: 'node',
      attempts: 2,
      everyMs: 10,
      timeoutMs: 1000,
      ifSilent: false,
      until: 'answered',
      exchanges: [
        { id: 'open', method: 'tcp', ip, port: ports.http, name: '' },
        { id: 'closed', method: 'tcp', ip, port: closedPort, name: '' },
        { id: 'status', method: 'http', ip, port: ports.http, name: '/metrics' },
        { id: 'silent', method: 'http', ip, port: ports.silent, name: '/' },
        { id: 'plain', method: 'tls', ip, port: ports.http, name: 'plain.test' },
        { id: 'tls', method: 'tls', ip, port: ports.tls, name: 'tls.test' },
        { id: 'known', method: 'dns', ip, port: ports.dns, name: 'known.test' },
        { id: 'unknown', method: 'dns', ip, port: ports.dns, name: 'unknown.test' },
        { id: 'nobody', method: 'dns', ip, port: closedPort, name: 'known.test' },
        // Broadcast, which the kernel does not let a socket connect to.
        { id: 'forbidden', method: 'dns', ip: '255.255.255.255', port: ports.dns, name: 'known.test' },
      ],
    },
  });
  const outcomes = ExchangeOutcome.array().parse(JSON.parse(results.get('all')?.stdout ?? ''));
  expect(outcomes.map(({ id, result, answered, detail }) => [id, result, answered, detail.split(' ')[0]])).toEqual([
    ['open', 'ok', 1, ''],
    ['closed', 'ECONNREFUSED', 1, 'connect'],
    ['status', 'ok', 1, '503'],
    ['silent', 'TIMEOUT', 0, ''],
    ['plain', 'TLS', 1, 'what'],
    ['tls', 'ok', 1, ''],
    ['known', 'ok', 1, '192.0.2.7'],
    ['unknown', 'NXDOMAIN', 1, ''],
    ['nobody', 'ECONNREFUSED', 1, 'recvmsg'],
    ['forbidden', 'EACCES', 1, 'connect'],
  ]);
  expect(outcomes.find(({ id }) => id === 'silent')?.attempts).toBe(2);
});

test('counts exchanges that stand each for itself', async () => {
  const dns = createSocket('udp4');
  let asked = 0;
  dns.on('message', (message, from) => {
    asked += 1;
    const query = decode(message);
    const name = query.questions?.[0]?.name ?? '';
    if (asked % 2 === 0) return;
    const answers = [{ type: 'A' as const, name, ttl: 1, data: '192.0.2.7' }];
    const { id = 0, questions = [] } = query;
    dns.send(encode({ type: 'response', id, questions, answers }), from.port, from.address);
  });
  await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
  cleanups.push(() => dns.close());
  const { perform, results } = start();
  const exchange = { id: 'half', method: 'dns', ip: '127.0.0.1', port: dns.address().port, name: 'known.test' } as const;
  const operation = { op: 'exchange', in: 'node', everyMs: 1, timeoutMs: 200, ifSilent: false, exchanges: [exchange] } as const;
  await perform({ all: { ...operation, exchanges: [exchange], attempts: 6, until: 'sent' } });
  const [outcome] = ExchangeOutcome.array().parse(JSON.parse(results.get('all')?.stdout ?? ''));
  expect({ ...outcome, ms: 0 }).toEqual({ id: 'half', attempts: 6, answered: 3, result: 'TIMEOUT', detail: '', ms: 0 });
});

test('counts the datagrams that arrive, by their mark, and nobody else’s', async () => {
  const { perform, results } = start();
  await perform({ listen: { op: 'listen', in: 'node', token: 'run1' } });
  const { udp } = Listening.parse(JSON.parse(results.get('listen')?.stdout ?? ''));
  const targets = [
    { id: '7', ip: '127.0.0.1', port: udp },
    { id: '8', ip: '127.0.0.1', port: udp },
  ];
  await perform({
    mine: { op: 'send', in: 'node', token: 'run1', targets, count: 3, everyMs: 1 },
    other: { op: 'send', in: 'node', token: 'run2', targets, count: 3, everyMs: 1 },
  });
  await perform({ heard: { op: 'heard', in: 'node' } });
  expect(JSON.parse(results.get('mine')?.stdout ?? '')).toEqual({ sent: { 7: 3, 8: 3 }, errors: {} });
  expect(JSON.parse(results.get('heard')?.stdout ?? '')).toEqual({ 7: 3, 8: 3 });
});

test('what is to be sent from a probe pod that is not there is told with that as the reason', async () => {
  const { perform, results } = start();
  await perform({
    find: { op: 'find', in: 'node', uid: '00000000-0000-0000-0000-00000000dead' },
    enter: { op: 'enter', in: 'node' },
    listen: { op: 'listen', in: 'pod', token: 't' },
  });
  const reason = 'the probe pod of this node has not been found';
  expect([...results.values()].map(({ fault, stderr }) => [fault, stderr])).toEqual([
    ['failed', 'no process of pod 00000000-0000-0000-0000-00000000dead on this node'],
    ['failed', reason],
    ['failed', reason],
  ]);
});

test('ends what it started and itself when the worker closes its side', async () => {
  const { perform, input, ended, results } = start();
  void perform({ slow: run('sleep', '60') });
  await perform({ quick: run('echo', 'hello') });
  input.end();
  expect(await ended).toBe(1);
  expect(results.has('slow')).toBe(false);
});

test('ends by itself when nothing has been heard for three seconds', async () => {
  expect(await start().ended).toBe(1);
});

test('ends when what it is told is not framed JSON', async () => {
  const { input, ended } = start();
  input.write(Buffer.from([0, 0, 0, 2, 0x7b, 0x7b]));
  expect(await ended).toBe(2);
});
