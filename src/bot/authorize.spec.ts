import { expect, test } from 'vitest';
import { ok } from '../model/result.ts';
import type { acceptRun } from './acceptance.ts';
import type { Grant } from './authorize.ts';
import { createDirectory } from './directory.ts';

test('a handler that did not ask for permission does not compile', () => {
  // @ts-expect-error what only looks like a grant is none
  const forged: Grant<'diagnose'> = { user: 'U1', team: 'T1', channel: 'C1', cluster: 'lab' };
  const misused = (grant: Grant<'read'>, accept: typeof acceptRun, options: Parameters<typeof acceptRun>[2]) =>
    // @ts-expect-error to read is not to start
    accept(grant, { kind: 'cluster' }, options);
  expect([forged.user, typeof misused]).toEqual(['U1', 'function']);
});

test('the directory asks once for what many want to know, remembers it for its time, and forgets failures', async () => {
  let now = 0;
  const asked: string[] = [];
  let healthy = false;
  const directory = createDirectory(
    async (method, parameters) => {
      asked.push(`${method} ${String(parameters['user'] ?? parameters['channel'] ?? parameters['usergroup'])}`);
      if (method === 'users.info' && !healthy) return { ok: false, error: { kind: 'unsent', message: 'ECONNREFUSED' } };
      if (method === 'users.info') return ok({ user: { id: 'U1' } });
      if (method === 'conversations.info') return ok({ channel: { id: 'C1', is_member: healthy } });
      return ok({ users: ['U1'] });
    },
    60_000,
    () => now,
  );
  expect((await Promise.all([directory.user('U1'), directory.user('U1')])).map((one) => one.ok)).toEqual([false, false]);
  await directory.channel('C1');
  healthy = true;
  await Promise.all([directory.user('U1'), directory.user('U1'), directory.channel('C1'), directory.group('S1')]);
  await Promise.all([directory.user('U1'), directory.channel('C1'), directory.group('S1')]);
  now = 60_001;
  await directory.user('U1');
  expect(asked).toEqual([
    'users.info U1',
    'conversations.info C1',
    'users.info U1',
    'conversations.info C1',
    'usergroups.users.list S1',
    'users.info U1',
  ]);
});
