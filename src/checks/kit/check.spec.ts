import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import type { Evidence } from '../../model/evidence.ts';
import { allParsed, incomplete, ok, parseComplete, unknown, unsupported } from './check.ts';

const ARGV = ['ip', '-j', 'route'];

test.for<[string, Partial<Evidence>, string | null]>([
  ['ended by itself', {}, null],
  ['ended without a word', { stdout: '' }, null],
  ['was cut', { truncated: true }, 'ip -j route: output was cut at 3 bytes'],
  [
    'failed',
    { exitCode: 2, stderr: 'Cannot open netlink socket\nand more' },
    'ip -j route: exit status 2, Cannot open netlink socket',
  ],
  ['failed in silence', { exitCode: 1 }, 'ip -j route: exit status 1'],
  ['was ended by a signal', { exitCode: null }, 'ip -j route: did not end by itself'],
  ['never ended', { exitCode: null, fault: 'timeout', durationMs: 2000.4 }, 'ip -j route: no end after 2000 ms'],
  ['was not found', { exitCode: null, fault: 'not-found' }, 'ip -j route: not installed in the agent'],
  ['was not allowed', { exitCode: null, fault: 'denied' }, 'ip -j route: permission denied'],
  ['was killed', { exitCode: null, fault: 'killed' }, 'ip -j route: was killed'],
  ['could not be run', { exitCode: null, fault: 'failed', stderr: 'spawn EAGAIN\n' }, 'ip -j route: spawn EAGAIN'],
  ['could not be run, for no known reason', { exitCode: null, fault: 'failed' }, 'ip -j route: failed'],
  ['has a fault beside a good exit', { fault: 'killed' }, 'ip -j route: was killed'],
])('a command that %s', ([, change, reason]) => {
  const item = evidence(ARGV, '[1]', change);
  expect(incomplete(item)).toBe(reason);
  expect(parseComplete(item, (stdout) => stdout.length)).toEqual(reason === null ? ok(item.stdout.length) : unknown(reason));
});

test('an exit status can be among those that mean complete output', () => {
  const item = evidence(ARGV, '[1]', { exitCode: 1 });
  expect(incomplete(item, [0, 1])).toBeNull();
  expect(incomplete({ ...item, exitCode: 2 }, [0, 1])).toBe('ip -j route: exit status 2');
  expect(parseComplete(item, (stdout) => stdout, [0, 1])).toEqual(ok('[1]'));
});

test('output that cannot be read is unknown, with the first line of what is wrong', () => {
  const read = () => {
    throw new TypeError('not a route\nat all');
  };
  expect(parseComplete(evidence(ARGV, 'x'), read)).toEqual(unknown('ip -j route: unreadable output (not a route)'));
});

test('several readings give facts together, or what the first of them lacks', () => {
  expect(allParsed({ a: ok(1), b: ok('two') })).toEqual(ok({ a: 1, b: 'two' }));
  expect(allParsed({ a: ok(1), b: unsupported('no such thing'), c: unknown('cut') })).toEqual(unsupported('no such thing'));
  expect(allParsed({})).toEqual(ok({}));
});
