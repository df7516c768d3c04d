import type { App } from '@slack/bolt';
import { expect, test } from 'vitest';
import { makeAction } from '../../test/action.ts';
import { type Config, FileConfig } from '../config.ts';
import { ok } from '../model/result.ts';
import type { ActionRecord } from '../model/wire/action.ts';
import { type Ability, type Caller, createAuthorize, type Self } from './authorize.ts';
import type { Directory, SlackUser } from './directory.ts';
import type { Command } from './grammar.ts';
import { type GuardedCommand, registerListeners } from './listen.ts';
import { LISTENERS } from './listeners/index.ts';
import type { Services } from './services.ts';

const self: Self = { team: 'T1', enterprise: 'E1', user: 'U0BOT', url: '' };
const OTHER_WORKSPACE = 'You belong to another workspace: netcheck answers only to members of the one it is installed in.';
const OTHER_ORGANISATION = 'You belong to another organisation (Slack Connect): netcheck answers only to members of this one.';
const GUEST = 'Guests may not use netcheck. Ask a full member of the workspace.';

type Identity = { readonly slack?: Partial<SlackUser>; readonly caller?: Partial<Caller>; readonly refusal: string | null };

/** Everybody who may come, and why those are refused who may do nothing at all. */
const IDENTITIES: Readonly<Record<string, Identity>> = {
  UMEMBER: { refusal: null },
  UREQUESTER: { refusal: null },
  UAPPROVER: { refusal: null },
  // In the user group that requests, and in none that approves.
  UGROUPMEMBER: { refusal: null },
  UGUEST: { slack: { is_restricted: true }, refusal: GUEST },
  UULTRAGUEST: { slack: { is_restricted: true, is_ultra_restricted: true }, refusal: GUEST },
  UROBOT: { slack: { is_bot: true }, refusal: 'Bots and apps may not use netcheck.' },
  UDEACTIVATED: { slack: { deleted: true }, refusal: 'Your Slack account is deactivated.' },
  USTRANGER: { slack: { is_stranger: true }, refusal: OTHER_ORGANISATION },
  UOTHERTEAM: { caller: { team: 'T2' }, refusal: OTHER_WORKSPACE },
  UOTHERENTERPRISE: { caller: { enterprise: 'E2' }, refusal: OTHER_WORKSPACE },
  UINVITED: { slack: { is_invited_user: true }, refusal: 'Your invitation to this workspace is not accepted yet.' },
};

/** What netcheck.yaml says: outsiders are in every list, and it does not help them. */
const everybodyElse = Object.entries(IDENTITIES)
  .filter(([, { refusal }]) => refusal !== null)
  .map(([id]) => id);
const config: Config = {
  ...FileConfig.parse({
    clusters: { lab: {} },
    remedies: { enabled: true },
    access: {
      request: { users: ['UREQUESTER', ...everybodyElse], groups: ['SREQUEST'] },
      approve: { users: ['UAPPROVER', ...everybodyElse] },
      breakGlass: { enabled: true, people: { users: ['UAPPROVER', ...everybodyElse] } },
    },
  }),
  slack: null,
  redis: { url: '' },
  approvalKey: null,
};

const MAY: Readonly<Record<Ability, readonly string[]>> = {
  read: ['UMEMBER', 'UREQUESTER', 'UAPPROVER', 'UGROUPMEMBER'],
  diagnose: ['UMEMBER', 'UREQUESTER', 'UAPPROVER', 'UGROUPMEMBER'],
  request: ['UREQUESTER', 'UGROUPMEMBER'],
  approve: ['UAPPROVER'],
  'break-glass': ['UAPPROVER'],
};

const NOT_LISTED: Readonly<Record<string, string>> = {
  request: 'You may not request a remedy: you are not listed in `access.request` of netcheck.yaml.',
  approve: 'You may not approve or deny a remedy: you are not listed in `access.approve` of netcheck.yaml.',
  'break-glass': 'You may not approve or deny a remedy: you are not listed in `access.approve` of netcheck.yaml.',
};

const directory: Directory = {
  user: async (id) =>
    ok({
      id,
      team_id: 'T1',
      deleted: false,
      is_bot: false,
      is_app_user: false,
      is_restricted: false,
      is_ultra_restricted: false,
      is_stranger: false,
      is_invited_user: false,
      ...IDENTITIES[id]?.slack,
    }),
  channel: async (id) =>
    ok({ id, is_member: true, is_im: false, is_archived: false, is_ext_shared: false, is_pending_ext_shared: false }),
  group: async () => ok(['UGROUPMEMBER', ...everybodyElse]),
};

class Reached extends Error {}

/** Services of which only `authorize` does anything: a handler that is reached fails by it. `looked` counts looks at the store. */
function createServices(): { readonly services: Services; readonly looked: () => number } {
  let looks = 0;
  const record = {
    action: makeAction({ requestedBy: { user: 'UREQUESTER', team: 'T1' } }),
    channel: 'C1',
    state: 'requested',
    approveBy: 0,
  } as ActionRecord;
  const unreachable = (known: object): never =>
    new Proxy(known, {
      get: (target, name) => {
        looks += 1;
        if (name in target) return target[name as keyof typeof target];
        throw new Reached();
      },
    }) as never;
  const services: Services = {
    config,
    self,
    authorize: createAuthorize(config, directory, self),
    stores: () => ({
      runs: unreachable({ proposals: async () => ok([]), accept: async () => ({ kind: 'limit', of: 'user', limit: 1 }) }),
      actions: unreachable({ get: async () => ok(record) }),
      digests: unreachable({}),
      history: unreachable({}),
      presence: unreachable({ workforce: async () => ({ alive: [], lastSeenMs: null }), nodes: async () => null }),
    }),
    outbox: unreachable({}),
    producer: unreachable({}),
    clock: unreachable({}),
    call: () => {
      throw new Reached();
    },
    log: { info: () => {}, warn: () => {}, error: () => {} },
  };
  return { services, looked: () => looks };
}

const COMMANDS: { readonly [W in Command['word']]: Command & { readonly word: W } } = {
  cluster: { word: 'cluster' },
  node: { word: 'node', node: 'node-1' },
  pod: { word: 'pod', namespace: 'default', pod: 'web-1' },
  status: { word: 'status' },
  digest: { word: 'digest', cron: '0 9 * * *', timezone: 'UTC', onlyChanges: false, theme: 'light' },
  'digest-list': { word: 'digest-list' },
  'digest-run': { word: 'digest-run', number: null },
  'digest-remove': { word: 'digest-remove', number: 1 },
  history: { word: 'history', page: 1 },
  policy: { word: 'policy' },
  help: { word: 'help' },
};

type Listener = {
  readonly name: string;
  readonly ability: Ability;
  readonly run: (caller: Caller, services: Services) => Promise<unknown>;
};

const never = 2 ** 31 - 10_000;
const ALL: readonly Listener[] = [
  ...Object.values(LISTENERS.commands as unknown as Readonly<Record<string, GuardedCommand<Command['word']>>>).map(
    (listener) => ({
      name: `/netcheck ${listener.word}`,
      ability: listener.ability,
      run: (caller: Caller, services: Services) => listener.run(caller, COMMANDS[listener.word], services, never),
    }),
  ),
  ...LISTENERS.buttons.map((listener) => ({
    name: `button ${String(listener.action)}`,
    ability: listener.ability,
    run: (caller: Caller, services: Services) => listener.run(caller, 'lab/a1/p1', 'trigger', services, never),
  })),
  ...LISTENERS.modals.map((listener) => ({
    name: `modal ${listener.callback}`,
    ability: listener.ability,
    run: (caller: Caller, services: Services) => listener.run(caller, 'lab/a1', 'a reason', services, never),
  })),
];

async function ask(listener: Listener, user: string) {
  const { services, looked } = createServices();
  const caller: Caller = { user, team: 'T1', enterprise: 'E1', channel: 'C1', cluster: null, ...IDENTITIES[user]?.caller };
  try {
    return { said: await listener.run(caller, services), looked: looked() };
  } catch (error) {
    if (!(error instanceof Reached)) throw error;
    return { said: 'reached', looked: looked() };
  }
}

test('Bolt gets exactly these listeners, and listens to nothing else', () => {
  const registered: [string, unknown][] = [];
  const app = new Proxy({}, { get: (_, method) => (what: unknown) => registered.push([String(method), what]) }) as App;
  registerListeners(app, LISTENERS, createServices().services, (work) => work);
  expect(registered.filter(([method]) => method !== 'error')).toEqual([
    ['command', '/netcheck'],
    ...LISTENERS.buttons.map(({ action }) => ['action', action]),
    ...LISTENERS.modals.map(({ callback }) => ['view', callback]),
  ]);
  expect(registered.filter(([method]) => method === 'error')).toHaveLength(1);
});

test.each(ALL)('$name is refused to all who may not, with the reason, and to nobody else', async (listener) => {
  const said = await Promise.all(
    Object.entries(IDENTITIES).map(async ([user, { refusal }]) => {
      const answered = await ask(listener, user);
      if (refusal !== null) return [user, answered];
      const isRefused = answered.said === NOT_LISTED[listener.ability];
      return [user, isRefused ? answered.said : 'allowed'];
    }),
  );
  expect(Object.fromEntries(said)).toEqual(
    Object.fromEntries(
      Object.entries(IDENTITIES).map(([user, { refusal }]) => {
        if (refusal !== null) return [user, { said: refusal, looked: 0 }];
        return [user, MAY[listener.ability].includes(user) ? 'allowed' : NOT_LISTED[listener.ability]];
      }),
    ),
  );
});

test('what starts or changes something asks for more than to read', () => {
  expect(ALL.filter(({ ability }) => ability === 'read').map(({ name }) => name)).toEqual([
    '/netcheck status',
    '/netcheck digest-list',
    '/netcheck history',
    '/netcheck policy',
    '/netcheck help',
    // Whoever requested a remedy may withdraw it; all others have to be approvers, see the next test.
    'button deny',
    'button details',
    'button /^history:(newer|older)$/',
    'modal deny-reason',
  ]);
});

test.each(['button deny', 'modal deny-reason'])('%s is for approvers, and for whoever requested it', async (name) => {
  const listener = ALL.find((one) => one.name === name);
  if (listener === undefined) throw new Error('no such listener');
  const said = await Promise.all(MAY.read.map(async (user) => [user, (await ask(listener, user)).said]));
  expect(Object.fromEntries(said)).toEqual({
    UMEMBER: NOT_LISTED['approve'],
    UGROUPMEMBER: NOT_LISTED['approve'],
    UAPPROVER: 'reached',
    UREQUESTER: 'reached',
  });
});
