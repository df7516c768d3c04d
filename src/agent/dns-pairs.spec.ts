import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { decode } from 'dns-packet';
import { afterEach, expect, test } from 'vitest';
import { askInPairs } from './dns-pairs.ts';

const servers: Socket[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

type Query = { readonly type: string; readonly client: number; readonly length: number };

/**
 * A server that echoes a query as its answer, where it is told to; `before` is how many queries of that type the same
 * client has sent already. Answers are longer than the queries, as those with addresses are.
 */
async function serve(answers: (type: string, before: number) => boolean) {
  const queries: Query[] = [];
  const server = createSocket('udp4');
  servers.push(server);
  server.on('message', (message, { port, address }) => {
    // `type` of a question is missing from the union of records that dns-packet declares.
    const [question] = decode(message).questions ?? [];
    const type = question?.type ?? '';
    const before = queries.filter((query) => query.type === type && query.client === port).length;
    queries.push({ type, client: port, length: message.length });
    const answer = Buffer.concat([message, Buffer.alloc(100, 7)]);
    answer.writeUInt8(answer.readUInt8(2) | 0x80, 2);
    if (answers(type, before)) server.send(answer, port, address);
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  return { queries, port };
}

async function ask(port: number, pairs = 1) {
  const target = { id: '7', ip: '127.0.0.1', port, name: 'kubernetes.default.svc.cluster.local' };
  const pace = { pairs, everyMs: 5, silentMs: 400, againMs: 600 };
  const outcomes = await askInPairs({ op: 'dns-pairs', in: 'pod', targets: [target], ...pace });
  return outcomes.flatMap(({ id, pairs: all }) => all.map((pair) => ({ id, ...pair })));
}

const ms = expect.any(Number);
const WHOLE = { id: '7', a: ms, aaaa: ms, again: false, error: '' };
const BOTH = ['A', 'AAAA'];

test('asks for both at once from one socket, each pair from another, each query in a datagram of its own', async () => {
  const { queries, port } = await serve(() => true);
  expect(await ask(port, 3)).toEqual([WHOLE, WHOLE, WHOLE]);
  const clients = [...Map.groupBy(queries, ({ client }) => client).values()];
  expect(clients.map((own) => own.map(({ type }) => type).toSorted())).toEqual([BOTH, BOTH, BOTH]);
  expect(new Set(queries.map(({ length }) => length)).size).toBe(1);
});

test('what is not answered while the other is comes when it is asked for again, from the same socket', async () => {
  const { queries, port } = await serve((type, before) => type === 'A' || before > 0);
  const [pair] = await ask(port);
  expect(pair).toEqual({ id: '7', a: ms, aaaa: ms, again: true, error: '' });
  expect((pair?.aaaa ?? 0) - (pair?.a ?? 0)).toBeGreaterThan(500);
  expect(queries.map(({ type }) => type).toSorted()).toEqual(['A', 'AAAA', 'AAAA']);
  expect(new Set(queries.map(({ client }) => client)).size).toBe(1);
});

test('what never comes is told apart from what came late', async () => {
  const { port } = await serve((type) => type === 'AAAA');
  expect(await ask(port)).toEqual([{ id: '7', a: null, aaaa: ms, again: true, error: '' }]);
});

test('where neither is answered it is given up, and nothing is asked again', async () => {
  const { queries, port } = await serve(() => false);
  expect(await ask(port)).toEqual([{ id: '7', a: null, aaaa: null, again: false, error: '' }]);
  expect(queries.length).toBe(2);
});

test('an error of the kernel ends a pair at once', async () => {
  const { port } = await serve(() => true);
  for (const server of servers.splice(0)) server.close();
  const [pair] = await ask(port);
  expect(pair).toMatchObject({ a: null, aaaa: null, again: false, error: expect.stringMatching(/ECONNREFUSED/) });
});
