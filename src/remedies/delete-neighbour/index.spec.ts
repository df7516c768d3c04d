import { describe, expect, test } from 'vitest';
import { openStage } from '../../../test/netns/stage.ts';
import { fakeHost, stageHost } from '../../../test/remedy-host.ts';
import { deleteNeighbour } from './index.ts';

const params = { dev: 'eth0', ip: '10.28.87.61', mac: '02:00:0a:1c:de:ad' };
const SHOW = 'ip -j neighbour show to 10.28.87.61 dev eth0';
const set = { mac: params.mac, options: [] };

test('exactly the one entry is deleted', () => {
  expect(deleteNeighbour.commands(params)).toEqual([['ip', 'neighbour', 'delete', '10.28.87.61', 'dev', 'eth0']]);
});

test.each([
  { ...params, ip: '0.0.0.0/0' },
  { ...params, ip: 'all' },
  { ...params, ip: '' },
  { ...params, dev: '-all' },
  { ...params, dev: 'eth0 nud all' },
  { ...params, mac: '02:00:0A:1C:DE:AD' },
  { ...params, mac: '' },
  { ...params, also: 'x' },
  { dev: 'eth0', ip: '10.28.87.61' },
])('refused: %j', (given) => {
  expect(deleteNeighbour.params.safeParse(given).success).toBe(false);
});

test.each([
  ['[{"dst":"10.28.87.61","lladdr":"02:00:0A:1C:DE:AD","state":["PERMANENT"]}]', { set }],
  [
    '[{"dst":"10.28.87.61","lladdr":"02:00:0a:1c:de:ad","router":null,"extern_learn":null,"state":["PERMANENT"],"protocol":"zebra"}]',
    { set: { mac: params.mac, options: ['router', 'extern_learn', 'protocol', 'zebra'] } },
  ],
  // What the kernel has learnt comes and goes by itself.
  ['[{"dst":"10.28.87.61","lladdr":"02:00:0a:1c:00:3d","state":["REACHABLE"]}]', { set: null }],
  ['[{"dst":"10.28.87.61","state":["FAILED"]}]', { set: null }],
  ['[{"dst":"10.28.87.6","lladdr":"02:00:0a:1c:00:06","state":["PERMANENT"]}]', { set: null }],
  ['\n', { set: null }],
])('of %s the state is %j', async (output, state) => {
  expect(await deleteNeighbour.read(params, fakeHost({ [SHOW]: output }).host)).toEqual(state);
});

test.each(['nonsense', '{}', '[{"dst":"10.28.87.61"}]'])(
  'output that is not what was asked for is an error: %s',
  async (output) => {
    await expect(deleteNeighbour.read(params, fakeHost({ [SHOW]: output }).host)).rejects.toThrow(/JSON|expected/);
  },
);

test.each([
  [{ set }, null],
  [{ set: null }, 'there is no permanent entry for 10.28.87.61 any more'],
  [
    { set: { mac: '02:00:0a:1c:57:3d', options: [] } },
    'the entry for 10.28.87.61 has the MAC address 02:00:0a:1c:57:3d by now, not 02:00:0a:1c:de:ad',
  ],
])('with %j: %s', (state, obsolete) => {
  expect(deleteNeighbour.obsolete(params, state)).toBe(obsolete);
});

test('the state is told with the command that shows it', () => {
  expect(deleteNeighbour.describe(params, { set })).toEqual([
    { source: SHOW, text: '10.28.87.61 lladdr 02:00:0a:1c:de:ad PERMANENT' },
  ]);
  expect(deleteNeighbour.describe(params, { set: null })).toEqual([{ source: SHOW, text: 'no permanent entry for 10.28.87.61' }]);
});

test('nothing is put back where nothing was deleted', () => {
  expect([
    deleteNeighbour.undoCommands(params, { set }, { set }),
    deleteNeighbour.undoCommands(params, { set: null }, { set: null }),
  ]).toEqual([[], []]);
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('in a network namespace', () => {
  test('an entry comes back as it was, with all that was set', async () => {
    const stage = await openStage();
    try {
      await stage.run(null, ['ip', 'netns', 'add', 'host']);
      const host = stageHost(stage, 'host');
      const lines = [
        'link add eth0 type veth peer name peer',
        'link set eth0 up',
        'address add 10.28.87.60/16 dev eth0',
        'neighbour replace 10.28.87.61 lladdr 02:00:0a:1c:de:ad dev eth0 nud permanent router extern_learn protocol zebra',
        'neighbour replace 10.28.87.62 lladdr 02:00:0a:1c:de:ae dev eth0 nud permanent',
      ];
      for (const line of lines) await host.run(['ip', ...line.split(' ')]);
      for (const given of [params, { ...params, ip: '10.28.87.62', mac: '02:00:0a:1c:de:ae' }]) {
        const before = await host.run(['ip', 'neighbour', 'show', 'nud', 'permanent']);
        const prior = await deleteNeighbour.read(given, host);
        expect(deleteNeighbour.obsolete(given, prior)).toBe(null);
        for (const argv of deleteNeighbour.commands(given)) await host.run(argv);
        const after = await deleteNeighbour.read(given, host);
        expect(after).toEqual({ set: null });
        for (const argv of deleteNeighbour.undoCommands(given, prior, after)) await host.run(argv);
        expect(await deleteNeighbour.read(given, host)).toEqual(prior);
        const now = await host.run(['ip', 'neighbour', 'show', 'nud', 'permanent']);
        expect(now.split('\n').toSorted()).toEqual(before.split('\n').toSorted());
      }
    } finally {
      await stage.close();
    }
  });
});
