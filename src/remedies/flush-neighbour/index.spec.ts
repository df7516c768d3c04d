import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { flushNeighbour } from './index.ts';

const params = { dev: 'eth0', ip: '10.28.87.61', mac: '02:00:0a:1c:de:ad' };
const SHOW = ['ip', '-j', 'neighbour', 'show', 'to', '10.28.87.61', 'dev', 'eth0'];

test('exactly the one entry is flushed', () => {
  expect(flushNeighbour.commands(params)).toEqual([['ip', 'neighbour', 'flush', 'to', '10.28.87.61', 'dev', 'eth0']]);
});

test.each([
  { ...params, ip: '0.0.0.0/0' },
  { ...params, ip: 'all' },
  { ...params, ip: '' },
  { ...params, dev: '-all x' },
  { ...params, dev: 'eth0 nud all' },
  { ...params, mac: '02:00:0A:1C:DE:AD' },
  { ...params, mac: '' },
  { ...params, also: 'x' },
  { dev: 'eth0', ip: '10.28.87.61' },
])('refused: %j', (given) => {
  expect(flushNeighbour.params.safeParse(given).success).toBe(false);
});

test('an entry of IPv6 is flushed as well', () => {
  const given = { ...params, ip: 'fd00::3d' };
  expect(flushNeighbour.params.safeParse(given).success).toBe(true);
  expect(flushNeighbour.commands(given)).toEqual([['ip', 'neighbour', 'flush', 'to', 'fd00::3d', 'dev', 'eth0']]);
});

test.each([
  ['[{"dst":"10.28.87.61","lladdr":"02:00:0A:1C:DE:AD","state":["REACHABLE"]}]', { mac: params.mac, state: 'REACHABLE' }],
  ['[{"dst":"10.28.87.61","state":["FAILED"]}]', { mac: null, state: 'FAILED' }],
  ['[{"dst":"10.28.87.6","lladdr":"02:00:0a:1c:00:06","state":["STALE"]}]', { mac: null, state: null }],
  ['[]', { mac: null, state: null }],
  // What `ip -j` prints where nothing matches.
  ['\n', { mac: null, state: null }],
])('of %s the state is %j', async (output, state) => {
  const { host, ran } = fakeHost({ [SHOW.join(' ')]: output });
  expect([await flushNeighbour.read(params, host), ran]).toEqual([state, [SHOW]]);
});

test.each(['nonsense', '{}', '[{"dst":"10.28.87.61"}]'])(
  'output that is not what was asked for is an error: %s',
  async (output) => {
    await expect(flushNeighbour.read(params, fakeHost({ [SHOW.join(' ')]: output }).host)).rejects.toThrow(/JSON|expected/);
  },
);

test.each([
  [{ mac: params.mac, state: 'REACHABLE' }, null],
  [{ mac: params.mac, state: 'STALE' }, null],
  [{ mac: null, state: 'FAILED' }, 'there is no entry for 10.28.87.61 any more'],
  [{ mac: null, state: null }, 'there is no entry for 10.28.87.61 any more'],
  [
    { mac: '02:00:0a:1c:57:3d', state: 'REACHABLE' },
    'the entry for 10.28.87.61 has the MAC address 02:00:0a:1c:57:3d by now, not 02:00:0a:1c:de:ad',
  ],
  [{ mac: params.mac, state: 'PERMANENT' }, 'the entry for 10.28.87.61 is permanent: flushing does not touch it'],
])('with %j: %s', (state, obsolete) => {
  expect(flushNeighbour.obsolete(params, state)).toBe(obsolete);
});

test('the state is told with the command that shows it', () => {
  const source = SHOW.join(' ');
  expect(flushNeighbour.describe(params, { mac: params.mac, state: 'STALE' })).toEqual([
    { source, text: '10.28.87.61 lladdr 02:00:0a:1c:de:ad STALE' },
  ]);
  expect(flushNeighbour.describe(params, { mac: null, state: null })).toEqual([{ source, text: 'no entry for 10.28.87.61' }]);
});

test('a wrong entry is not brought back', () => {
  expect([
    flushNeighbour.undo,
    flushNeighbour.undoCommands(params, { mac: params.mac, state: 'STALE' }, { mac: null, state: null }),
  ]).toEqual([null, []]);
});
