import naughty from 'big-list-of-naughty-strings/blns.json' with { type: 'json' };
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { slackFaults } from '../../test/slack-limits.ts';
import { section } from '../formatters/slack/blocks.ts';
import { isNamespace, isNodeName, parseCommand, splitCluster, unknownNode } from './grammar.ts';

test.each([
  ['', { word: 'help' }],
  ['   ', { word: 'help' }],
  ['help', { word: 'help' }],
  ['cluster', { word: 'cluster' }],
  [' CLUSTER ', { word: 'cluster' }],
  ['status', { word: 'status' }],
  ['node node-3', { word: 'node', node: 'node-3' }],
  ['node Node-3', { word: 'node', node: 'node-3' }],
  ['node “node-3”', { word: 'node', node: 'node-3' }],
  ["node 'node-3'", { word: 'node', node: 'node-3' }],
  ['node\u00A0node\u200B-3\u202C', { word: 'node', node: 'node-3' }],
  ['node <http://ip-10-0-0-1.ec2.internal|ip-10-0-0-1.ec2.internal>', { word: 'node', node: 'ip-10-0-0-1.ec2.internal' }],
  ['node\nnode-3', { word: 'node', node: 'node-3' }],
  ['pod default/web-1', { word: 'pod', namespace: 'default', pod: 'web-1' }],
  ['POD “Shop/Checkout-5d8c7b9f4-x2x9k”', { word: 'pod', namespace: 'shop', pod: 'checkout-5d8c7b9f4-x2x9k' }],
  ['digest', { word: 'digest-list' }],
  ['digest LIST', { word: 'digest-list' }],
  ['digest run', { word: 'digest-run', number: null }],
  ['digest run 3', { word: 'digest-run', number: 3 }],
  ['digest remove 12', { word: 'digest-remove', number: 12 }],
  [
    'digest weekdays 09:00 Europe/Berlin only changes',
    { word: 'digest', cron: '0 9 * * 1-5', timezone: 'Europe/Berlin', onlyChanges: true, theme: 'light' },
  ],
  ['digest mondays', { word: 'digest', cron: '0 9 * * 1', timezone: null, onlyChanges: false, theme: 'light' }],
  [
    'digest cron “0 9 * * 1-5” Europe/Berlin',
    { word: 'digest', cron: '0 9 * * 1-5', timezone: 'Europe/Berlin', onlyChanges: false, theme: 'light' },
  ],
  ['history', { word: 'history', page: 1 }],
  ['history 7', { word: 'history', page: 7 }],
])('%j is understood', (text, command) => {
  expect(parseCommand(text)).toEqual({ ok: true, value: command });
});

test.each([
  ['cluster', { rest: 'cluster', cluster: null }],
  ['', { rest: '', cluster: null }],
  ['cluster on prod-eu', { rest: 'cluster', cluster: 'prod-eu' }],
  ['node on-1 ON Prod-EU ', { rest: 'node on-1', cluster: 'prod-eu' }],
  ['on prod\u200B', { rest: '', cluster: 'prod' }],
  ['node on', { rest: 'node on', cluster: null }],
])('%j names a cluster, or none', (text, split) => {
  expect(splitCluster(text)).toEqual({ ok: true, value: split });
});

test('what cannot be the name of a cluster is said', () => {
  expect(splitCluster('cluster on $(reboot)')).toEqual({
    ok: false,
    error: '`$(reboot)` cannot be the name of a cluster: those are lower-case letters, digits and `-`, at most 63.',
  });
});

const usage =
  'Type `/netcheck cluster`, `/netcheck node NAME`, `/netcheck pod NAMESPACE/NAME`, `/netcheck status`, `/netcheck digest`, `/netcheck history` or `/netcheck help`.';

test.each([
  ['clutser', `netcheck does not know \`clutser\`. Did you mean \`/netcheck cluster\`? ${usage}`],
  [
    'nod node-3',
    `netcheck does not know \`nod\`. Did you mean \`/netcheck node node-3\`, \`/netcheck pod NAMESPACE/NAME\`? ${usage}`,
  ],
  ['pdo default/web-1', `netcheck does not know \`pdo\`. Did you mean \`/netcheck pod default/web-1\`? ${usage}`],
  ['default/web-1', `netcheck does not know \`default/web-1\`. If it is a pod, type \`/netcheck pod default/web-1\`. ${usage}`],
  ['worker-7', `netcheck does not know \`worker-7\`. If it is a node, type \`/netcheck node worker-7\`. ${usage}`],
  ['fix everything', `netcheck does not know \`fix\`. ${usage}`],
  ['node', 'Which node? Type `/netcheck node NAME`.'],
  ['node a b', 'One node at a time, please: `/netcheck node NAME`. For several, `/netcheck cluster` checks all of them.'],
  ['node $(reboot)', '`$(reboot)` cannot be the name of a node: those are lower-case letters, digits, `-` and `.`, at most 253.'],
  ['pod', 'Which pod? Type `/netcheck pod NAMESPACE/NAME`.'],
  ['pod web-1', 'In which namespace is it? Type `/netcheck pod NAMESPACE/web-1`.'],
  ['pod a/b c/d', 'One pod at a time, please: `/netcheck pod NAMESPACE/NAME`.'],
  ...['pod a/b/c', 'pod /b', 'pod a/', 'pod a.b/c', 'pod $(reboot)/x'].map((typed): [string, string] => [
    typed,
    `\`${typed.slice(4)}\` cannot be a pod: that is \`NAMESPACE/NAME\`, both of lower-case letters, digits and \`-\`.`,
  ]),
  ['cluster node-3', '`cluster` takes nothing after it, but you typed `node-3`. For one node, type `/netcheck node node-3`.'],
  [
    'digest daily 09:00 Europe/Berln',
    'Nothing was saved. "Europe/Berln" is not a time zone. Did you mean Europe/Berlin, Europe/Dublin, Europe/Jersey? Also: `/netcheck digest list`, `/netcheck digest run N`, `/netcheck digest remove N`.',
  ],
  [
    'digest cron "*/10 * * * *" UTC',
    'Nothing was saved. That is every 10 minutes at times, and 15 is the least: every digest probes the whole network. Also: `/netcheck digest list`, `/netcheck digest run N`, `/netcheck digest remove N`.',
  ],
  ['digest list 3', '`digest list` takes nothing after it. The numbers: `/netcheck digest list`'],
  ['digest run x', '`digest run` takes the number of a digest and nothing else after it. The numbers: `/netcheck digest list`'],
  ['digest run 1 2', '`digest run` takes the number of a digest and nothing else after it. The numbers: `/netcheck digest list`'],
  ['digest remove', 'Which digest? Type `/netcheck digest remove N`; `/netcheck digest list` shows the numbers.'],
  [
    'digest remove 0',
    '`digest remove` takes the number of a digest and nothing else after it. The numbers: `/netcheck digest list`',
  ],
  ['history all', '`history` takes the number of a page after it, or nothing: `/netcheck history 2`'],
  ['node "node-3', `A quotation mark is not closed. ${usage}`],
  ['<!channel> & <b>', `netcheck does not know \`&lt;!channel&gt;\`. ${usage}`],
  ['`rm`', `netcheck does not know \`ˋrmˋ\`. ${usage}`],
  ['x'.repeat(301), `That is too long for a command. ${usage}`],
])('%j gets a sentence that says what to type instead', (text, sentence) => {
  expect(parseCommand(text)).toEqual({ ok: false, error: sentence });
});

test('whatever is typed gets an answer that Slack takes and nobody is harmed by, or is a valid command', () => {
  const anything = fc.oneof(fc.constantFrom(...naughty), fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }));
  const typed = fc
    .tuple(
      fc.constantFrom(
        '',
        'node ',
        'pod ',
        'pod a/',
        'cluster ',
        'status ',
        'digest ',
        'digest cron ',
        'digest daily 09:00 ',
        'history ',
      ),
      anything,
    )
    .map(([word, text]) => word + text);
  fc.assert(
    fc.property(typed, (text) => {
      const parsed = parseCommand(text);
      const faults = parsed.ok ? [] : slackFaults({ text: 'answer', blocks: [section(parsed.error)] });
      const command = parsed.ok ? parsed.value : null;
      const safe =
        (command?.word !== 'node' || isNodeName(command.node)) &&
        (command?.word !== 'pod' || (isNamespace(command.namespace) && isNodeName(command.pod)));
      expect([faults, safe]).toEqual([[], true]);
    }),
    { numRuns: Number(process.env['NETCHECK_FUZZ_RUNS'] ?? 3_000) },
  );
  for (const text of naughty) expect(() => parseCommand(`node ${text}`)).not.toThrow();
});

test('a node that does not exist is answered with the names that come close', () => {
  const names = ['node-1', 'node-2', 'node-12', 'gpu-1'];
  expect(unknownNode('node-22', 'prod', names, 40_000)).toBe(
    'Cluster `prod` has no node `node-22` (as of 40 s ago), so nothing was started. Did you mean `/netcheck node node-12`, `/netcheck node node-2`, `/netcheck node node-1`?',
  );
  expect(unknownNode('zzz', 'prod', names, 40_000)).toBe(
    'Cluster `prod` has no node `zzz` (as of 40 s ago), so nothing was started. It has 4 nodes: `node-1`, `node-2`, `node-12`, `gpu-1`',
  );
});
