import { expect, test } from 'vitest';
import { fakeHost } from '../../../test/remedy-host.ts';
import { killProcess } from './index.ts';

const params = { pid: '177', start: '2592278', comm: 'web' };
const REST = '1 177 177 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 2592278 1000 50 18446744073709551615';

test('the process is named by its number and the time that it was started at', () => {
  expect(killProcess.commands(params)).toEqual([['end-process', '177', '2592278']]);
});

test.each([
  { ...params, pid: '1' },
  { ...params, pid: '0' },
  { ...params, pid: '-1' },
  { ...params, pid: '177 1' },
  { ...params, pid: '4194305' },
  { ...params, start: '' },
  { ...params, start: '-5' },
  { ...params, comm: '' },
  { ...params, comm: 'web\n' },
  { ...params, comm: 'longer than names' },
  { ...params, signal: 'KILL' },
  { pid: '177', comm: 'web' },
])('refused: %j', (given) => {
  expect(killProcess.params.safeParse(given).success).toBe(false);
});

test.each([
  [`177 (web) S ${REST}\n`, { start: '2592278', comm: 'web' }],
  [`177 (a) S 1 (b) R ${REST}\n`, { start: '2592278', comm: 'a) S 1 (b' }],
  [`177 (web) Z ${REST}\n`, null],
  [null, null],
])('of %j the state is %j', async (text, state) => {
  const { host } = fakeHost({}, text === null ? {} : { '/proc/177/stat': text });
  expect(await killProcess.read(params, host)).toEqual(state);
});

test.each([
  [{ start: '2592278', comm: 'web' }, null],
  [null, 'there is no process 177 any more'],
  [{ start: '2600000', comm: 'kubelet' }, 'the process 177 is another one by now: kubelet'],
  [{ start: '2592278', comm: 'sh' }, 'the process 177 runs sh by now, not web'],
])('with %j: %s', (state, obsolete) => {
  expect(killProcess.obsolete(params, state)).toBe(obsolete);
});

test('the state is told with the file that shows it', () => {
  const source = '/proc/177/stat';
  expect([killProcess.describe(params, { start: '2592278', comm: 'web' }), killProcess.describe(params, null)]).toEqual([
    [{ source, text: 'web, started 2592278 ticks after boot' }],
    [{ source, text: 'no process 177' }],
  ]);
});

test('what has ended is not brought back', () => {
  expect([killProcess.undo, killProcess.undoCommands(params, { start: '2592278', comm: 'web' }, null)]).toEqual([null, []]);
});
