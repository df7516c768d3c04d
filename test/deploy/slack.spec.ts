import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createEmulator, type Emulator } from 'emulate';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse } from 'yaml';
import { BOT_SCOPES } from '../../src/bot/scopes.ts';
import { freePort } from '../redis.ts';
import { SCOPES } from '../slack.ts';

const ROOT = join(import.meta.dirname, '../..');

type Manifest = {
  readonly features: { readonly slash_commands: readonly Record<string, unknown>[] };
  readonly oauth_config: { readonly scopes: { readonly bot: readonly string[] } };
  readonly settings: { readonly socket_mode_enabled: boolean; readonly interactivity: Record<string, unknown> };
};

function manifest(name: string): Manifest {
  return parse(readFileSync(join(ROOT, 'deploy/slack', name), 'utf8')) as Manifest;
}

/** What each call of the bot is made with. `where` is a public channel, a private one and a direct message in turn. */
const CALLS: Readonly<Record<string, (where: string, user: string) => Record<string, string>>> = {
  'auth.test': () => ({}),
  'chat.postMessage': (channel) => ({ channel, text: 'a' }),
  'chat.update': (channel) => ({ channel, ts: '1', text: 'a' }),
  'chat.delete': (channel) => ({ channel, ts: '1' }),
  'conversations.info': (channel) => ({ channel }),
  'conversations.history': (channel) => ({ channel }),
  'conversations.replies': (channel) => ({ channel, ts: '1' }),
  'users.info': (_channel, user) => ({ user }),
  'files.getUploadURLExternal': () => ({ filename: 'a.png', length: '1' }),
  'files.completeUploadExternal': (channel_id) => ({ channel_id, files: '[{"id":"F1"}]' }),
};

/** What the emulator does not know, with the scopes of Slack's reference (https://docs.slack.dev/reference/methods). */
const NOT_EMULATED: Readonly<Record<string, readonly string[]>> = {
  'usergroups.users.list': ['usergroups:read'],
  'views.open': [],
};

const BOT = { user: 'U0NETCHECK0', bot_id: 'B0NETCHECK0', bot_user_id: 'U0NETCHECK0' };
let slack: Emulator;
let places: readonly string[] = [];
let user = '';

beforeAll(async () => {
  const without = SCOPES.map((scope) => ({ token: `without-${scope}`, scopes: SCOPES.filter((one) => one !== scope), ...BOT }));
  slack = await createEmulator({
    service: 'slack',
    port: await freePort(),
    seed: {
      slack: {
        strict_scopes: true,
        users: [{ name: 'ann', real_name: 'ann' }],
        oauth_apps: [
          {
            client_id: '1.2',
            client_secret: 's',
            name: 'netcheck',
            redirect_uris: [],
            scopes: SCOPES,
            ...BOT,
            bot_name: 'netcheck',
          },
        ],
        tokens: [
          { token: 'all', scopes: SCOPES, ...BOT },
          { token: 'maker', scopes: [...SCOPES, 'channels:manage', 'groups:write', 'im:write'], ...BOT },
          ...without,
        ],
      },
    },
  });
  const { members } = (await call('users.list', {}, 'maker')) as unknown as { members: { id: string; name: string }[] };
  user = members.find(({ name }) => name === 'ann')?.id ?? '';
  const made = await Promise.all([
    call('conversations.create', { name: 'open' }, 'maker'),
    call('conversations.create', { name: 'closed', is_private: 'true' }, 'maker'),
    call('conversations.open', { users: user }, 'maker'),
  ]);
  places = made.map((answer) => (answer as unknown as { channel: { id: string } }).channel.id);
});

afterAll(() => slack.close());

async function call(method: string, parameters: Record<string, string>, token: string): Promise<Record<string, unknown>> {
  const reply = await fetch(`${slack.url}/api/${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: new URLSearchParams(parameters),
  });
  return (await reply.json()) as Record<string, unknown>;
}

/** Whether a call is refused for want of a scope, anywhere. */
async function isRefused(method: string, token: string): Promise<boolean> {
  const answers = await Promise.all(places.map((place) => call(method, CALLS[method]?.(place, user) ?? {}, token)));
  return answers.some(({ error }) => error === 'missing_scope');
}

test('every method of the Web API that the bot calls is looked at here', () => {
  const sources = globSync(['src/bot/**/*.ts'], { cwd: ROOT }).filter((name) => !name.endsWith('.spec.ts'));
  const method =
    /'((?:auth|bots|canvases|chat|conversations|dnd|emoji|files|pins|reactions|reminders|team|usergroups|users|views)(?:\.[a-zA-Z]+)+)'/g;
  const called = sources.flatMap((source) =>
    [...readFileSync(join(ROOT, source), 'utf8').matchAll(method)].map(([, name = '']) => name),
  );
  expect(new Set(called)).toEqual(new Set([...Object.keys(CALLS), ...Object.keys(NOT_EMULATED)]));
});

test("the manifest's scopes suffice for every call", async () => {
  const refused = await Promise.all(Object.keys(CALLS).map(async (method) => ((await isRefused(method, 'all')) ? [method] : [])));
  expect(refused.flat()).toEqual([]);
});

test('without any one of them some call is refused: none is left over', async () => {
  const needed = await Promise.all(
    SCOPES.map(async (scope) => {
      const refused = await Promise.all(Object.keys(CALLS).map((method) => isRefused(method, `without-${scope}`)));
      return refused.includes(true) ? [scope] : [];
    }),
  );
  const others = Object.values(NOT_EMULATED).flat();
  // A slash command needs `commands`, which no call does.
  expect(new Set([...needed.flat(), ...others, 'commands'])).toEqual(new Set(SCOPES));
  expect(manifest('manifest.yaml').features.slash_commands).toHaveLength(1);
});

test('with Socket Mode the app is the same, but for how Slack reaches the bot', () => {
  const [http, socket] = [manifest('manifest.yaml'), manifest('manifest.socket-mode.yaml')];
  expect([http.settings.socket_mode_enabled, socket.settings.socket_mode_enabled]).toEqual([false, true]);
  expect([http.settings.interactivity['request_url'], socket.settings.interactivity['request_url']]).toEqual([
    expect.stringMatching(/^https:.*\/slack\/events$/),
    undefined,
  ]);
  const without = JSON.stringify(http, (key, value: unknown) => (['url', 'request_url'].includes(key) ? undefined : value));
  expect({ ...socket, settings: { ...socket.settings, socket_mode_enabled: false } }).toEqual(JSON.parse(without));
});

test('the scopes that netcheck doctor asks for are those of the manifest', () => {
  expect([...BOT_SCOPES].toSorted()).toEqual(SCOPES.toSorted());
});
