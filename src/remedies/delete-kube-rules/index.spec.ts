import { describe, expect, test } from 'vitest';
import { openStage } from '../../../test/netns/stage.ts';
import { fakeHost, stageHost } from '../../../test/remedy-host.ts';
import { deleteKubeRules } from './index.ts';

const SERVICES = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
const WORDS = ['-m', 'comment', '--comment', 'kubernetes service portals', '-j', 'KUBE-SERVICES'];
const [IN, OUT] = [`-A PREROUTING ${SERVICES}`, `-A OUTPUT ${SERVICES}`];
const params = { system: 'legacy', jumps: `nat ${IN}\nnat ${OUT}` } as const;
const whole = { chains: { 'nat PREROUTING': [IN], 'nat OUTPUT': [OUT] }, others: true };

test('exactly the jumps are deleted, each by its own words', () => {
  expect(deleteKubeRules.commands(params)).toEqual([
    ['iptables-legacy', '-w', '5', '-t', 'nat', '-D', 'PREROUTING', ...WORDS],
    ['iptables-legacy', '-w', '5', '-t', 'nat', '-D', 'OUTPUT', ...WORDS],
  ]);
});

test.each([
  '',
  `nat ${IN}\n`,
  IN,
  `raw ${IN}`,
  'nat -A PREROUTING -j DOCKER',
  'nat -A PREROUTING -j KUBE-FIREWALL',
  'nat -A PREROUTING -j KUBE-SERVICES -t filter',
  'nat -A PREROUTING --modprobe=/tmp/x -j KUBE-SERVICES',
  'nat -A KUBE-SERVICES -j KUBE-NODEPORTS',
  'nat -P PREROUTING DROP',
  Array.from({ length: 41 }, () => `nat ${IN}`).join('\n'),
])('refused as jumps: %j', (jumps) => {
  expect(deleteKubeRules.params.safeParse({ ...params, jumps }).success).toBe(false);
});

test('other parameters are refused', () => {
  const given = [{ ...params, system: 'nft' }, { ...params, also: 'x' }, { system: 'legacy' }];
  expect(given.map((each) => deleteKubeRules.params.safeParse(each).success)).toEqual([false, false, false]);
});

test('it acts only where all the jumps are there, and the other rules are in use', () => {
  expect([
    deleteKubeRules.obsolete(params, whole),
    deleteKubeRules.obsolete(params, { ...whole, chains: { ...whole.chains, 'nat OUTPUT': [] } }),
    deleteKubeRules.obsolete({ ...params, jumps: `nat ${IN}\nnat ${IN}` }, whole),
    deleteKubeRules.obsolete(params, { ...whole, others: false }),
  ]).toEqual([
    null,
    `OUTPUT of table nat has no such rule any more: ${OUT}`,
    `PREROUTING of table nat has no such rule any more: ${IN}`,
    'the rules of kube-proxy in iptables-nft are not in use: these are the only ones',
  ]);
});

test('the other rules are in use where both ways lead to them', async () => {
  const list = (tool: string, chain: string) => `${tool} -w 5 -t nat -S ${chain}`;
  const outputs = {
    [list('iptables-legacy', 'PREROUTING')]: `-P PREROUTING ACCEPT\n${IN}\n`,
    [list('iptables-legacy', 'OUTPUT')]: `-P OUTPUT ACCEPT\n${OUT}\n`,
    [list('iptables-nft', 'PREROUTING')]: `-P PREROUTING ACCEPT\n${IN}\n`,
    [list('iptables-nft', 'OUTPUT')]: `-P OUTPUT ACCEPT\n${OUT}\n`,
  };
  const half = { ...outputs, [list('iptables-nft', 'OUTPUT')]: '-P OUTPUT ACCEPT\n' };
  expect([
    await deleteKubeRules.read(params, fakeHost(outputs).host),
    await deleteKubeRules.read(params, fakeHost(half).host),
  ]).toEqual([whole, { ...whole, others: false }]);
});

test('the state is told with the commands that show it', () => {
  const source = 'iptables-legacy -w 5 -t nat -S PREROUTING; iptables-legacy -w 5 -t nat -S OUTPUT';
  expect([
    deleteKubeRules.describe(params, whole),
    deleteKubeRules.describe(params, { chains: { 'nat PREROUTING': [], 'nat OUTPUT': [OUT] }, others: true }),
  ]).toEqual([
    [{ source, text: '2 of 2 jumps to the rules of kube-proxy are there' }],
    [{ source, text: '1 of 2 jumps to the rules of kube-proxy are there' }],
  ]);
});

test('what failed half-way is put back as far as it went; nothing where a chain was changed meanwhile', () => {
  const half = { ...whole, chains: { 'nat PREROUTING': [], 'nat OUTPUT': [OUT] } };
  const other = { ...whole, chains: { 'nat PREROUTING': ['-A PREROUTING -j CNI'], 'nat OUTPUT': [] } };
  expect([
    deleteKubeRules.undoCommands(params, whole, half),
    deleteKubeRules.undoCommands(params, whole, whole),
    deleteKubeRules.undoCommands(params, whole, other),
  ]).toEqual([[['iptables-legacy', '-w', '5', '-t', 'nat', '-I', 'PREROUTING', '1', ...WORDS]], [], []]);
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('in a network namespace', () => {
  test.each([
    ['legacy', 'iptables-legacy', 'iptables-nft'],
    ['iptables-nft', 'iptables-nft', 'iptables-legacy'],
  ] as const)('%s: every jump comes back to its place, byte for byte', async (system, tool, otherTool) => {
    const stage = await openStage();
    try {
      await stage.run(null, ['ip', 'netns', 'add', 'host']);
      const host = stageHost(stage, 'host');
      const input = [
        '*nat',
        ':KUBE-SERVICES - [0:0]',
        ':KUBE-POSTROUTING - [0:0]',
        ':CNI-HOSTPORT-DNAT - [0:0]',
        '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
        IN,
        OUT,
        '-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        '-A KUBE-SERVICES -d 172.26.0.10/32 -p udp -m udp --dport 53 -j DNAT --to-destination 172.27.9.99:53',
        'COMMIT',
        '*filter',
        ':KUBE-SERVICES - [0:0]',
        ':KUBE-FIREWALL - [0:0]',
        '-A FORWARD -s 10.0.0.0/8 -j ACCEPT',
        `-A FORWARD -m conntrack --ctstate NEW ${SERVICES}`,
        '-A FORWARD -d 10.0.0.0/8 -j ACCEPT',
        `-A OUTPUT -m conntrack --ctstate NEW ${SERVICES}`,
        '-A OUTPUT -j KUBE-FIREWALL',
        'COMMIT',
        '',
      ].join('\n');
      for (const each of [tool, otherTool]) {
        await stage.run('host', [`${each}-restore`, '--noflush'], input);
      }
      const saved = async () => (await host.run([`${tool}-save`])).replaceAll(/^#.*\n|\[\d+:\d+\]/gm, '');
      const before = await saved();
      const jumps = ['nat', 'filter'].flatMap((table) => {
        const part = before.slice(before.indexOf(`*${table}`)).split('COMMIT')[0] ?? '';
        return [...part.matchAll(/^-A (?:[A-Z]+) .*-j KUBE-(?:SERVICES|POSTROUTING)$/gm)].map(([rule]) => `${table} ${rule}`);
      });
      expect(jumps).toHaveLength(5);
      const given = { system, jumps: jumps.join('\n') };
      expect(deleteKubeRules.params.safeParse(given)).toMatchObject({ success: true });
      const prior = await deleteKubeRules.read(given, host);
      expect(deleteKubeRules.obsolete(given, prior)).toBe(null);
      for (const argv of deleteKubeRules.commands(given)) await host.run(argv);
      const after = await deleteKubeRules.read(given, host);
      const left = jumps.reduce((text, jump) => text.replace(`${jump.replace(/^\w+ /, '')}\n`, ''), before);
      expect((await saved()).split('\n').toSorted()).toEqual(left.split('\n').toSorted());
      for (const argv of deleteKubeRules.undoCommands(given, prior, after)) await host.run(argv);
      expect([await saved(), await deleteKubeRules.read(given, host)]).toEqual([before, prior]);
    } finally {
      await stage.close();
    }
  });
});
