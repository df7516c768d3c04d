import { describe, expect, test } from 'vitest';
import { openStage } from '../../../test/netns/stage.ts';
import { fakeHost, stageHost } from '../../../test/remedy-host.ts';
import { deleteConntrackEntries } from './index.ts';

const params = { proto: 'udp', ip: '172.26.0.10', port: '53', target: '172.27.2.199', targetPort: '53' } as const;
const FILTER = '-p udp --orig-dst 172.26.0.10 --orig-port-dst 53 --reply-src 172.27.2.199 --reply-port-src 53';

test('only entries that all of it holds for are deleted', () => {
  expect(deleteConntrackEntries.commands(params)).toEqual([['conntrack', '-D', ...FILTER.split(' ')]]);
});

test.each([
  { ...params, proto: 'tcp' },
  { ...params, ip: '172.26.0.10/16' },
  { ...params, ip: 'any' },
  { ...params, ip: '' },
  { ...params, port: '0' },
  { ...params, port: '65536' },
  { ...params, port: '53 -D' },
  { ...params, target: '-F' },
  { ...params, targetPort: '' },
  { ...params, also: 'x' },
  { proto: 'udp', ip: '172.26.0.10', port: '53' },
])('refused: %j', (given) => {
  expect(deleteConntrackEntries.params.safeParse(given).success).toBe(false);
});

test('the state is how many there are', async () => {
  const entry =
    'udp      17 899 src=172.27.2.3 dst=172.26.0.10 sport=5353 dport=53 [UNREPLIED] src=172.27.2.199 dst=172.27.2.3 sport=53 dport=5353 mark=0 use=1\n';
  const source = `conntrack -L ${FILTER}`;
  const [some, none] = [fakeHost({ [source]: `${entry}${entry}` }).host, fakeHost({ [source]: '' }).host];
  const states = [await deleteConntrackEntries.read(params, some), await deleteConntrackEntries.read(params, none)] as const;
  expect(states.map((state) => [state, deleteConntrackEntries.obsolete(params, state)])).toEqual([
    [{ entries: 2 }, null],
    [{ entries: 0 }, 'no entry leads UDP packets for 172.26.0.10 port 53 to 172.27.2.199 port 53 any more'],
  ]);
  expect(states.map((state) => deleteConntrackEntries.describe(params, state))).toEqual([
    [{ source, text: '2 entries' }],
    [{ source, text: '0 entries' }],
  ]);
});

test('an entry that leads to nobody is not brought back', () => {
  expect(deleteConntrackEntries.undoCommands(params, { entries: 1 }, { entries: 0 })).toEqual([]);
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('in a network namespace', () => {
  test('entries of other clients, Services, ports and endpoints stay', async () => {
    const stage = await openStage();
    try {
      await stage.run(null, ['ip', 'netns', 'add', 'host']);
      const host = stageHost(stage, 'host');
      // Source port, destination, its port, and where it leads.
      const entries = [
        ['5353', '172.26.0.10', '53', '172.27.2.199:53'],
        ['5354', '172.26.0.10', '53', '172.27.2.199:53'],
        ['5355', '172.26.0.10', '53', '172.27.2.5:53'],
        ['5356', '172.26.0.10', '53', '172.27.2.199:5300'],
        ['5357', '172.26.0.11', '53', '172.27.2.199:53'],
        ['5358', '172.26.0.10', '54', '172.27.2.199:53'],
      ] as const;
      for (const [sport, to, port, target] of entries) {
        const tuple = ['-s', '172.27.2.3', '-d', to, '--sport', sport, '--dport', port, '--dst-nat', target, '-t', '900'];
        await host.run(['conntrack', '-I', '-p', 'udp', ...tuple]);
      }
      const tcp =
        '-p tcp -s 172.27.2.3 -d 172.26.0.10 --sport 5353 --dport 53 --dst-nat 172.27.2.199:53 -t 900 --state ESTABLISHED';
      await host.run(['conntrack', '-I', ...tcp.split(' ')]);
      expect(await deleteConntrackEntries.read(params, host)).toEqual({ entries: 2 });
      for (const argv of deleteConntrackEntries.commands(params)) await host.run(argv);
      expect(await deleteConntrackEntries.read(params, host)).toEqual({ entries: 0 });
      const left = await host.run(['conntrack', '-L']);
      const ports = [...left.matchAll(/^(\w+) .*? sport=(\d+)/gm)].map(([, proto, sport]) => `${proto} ${sport}`);
      expect(ports.toSorted()).toEqual(['tcp 5353', 'udp 5355', 'udp 5356', 'udp 5357', 'udp 5358']);
    } finally {
      await stage.close();
    }
  });
});
