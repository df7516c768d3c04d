import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createEmulator } from 'emulate';
import { parse } from 'yaml';
import { z } from 'zod';
import { freePort } from './redis.ts';
import { slackFaults } from './slack-limits.ts';
import { createSocketMode } from './socket-mode.ts';
import { until } from './until.ts';

/** The scopes that the manifest of the Slack app asks for: everything else is refused. */
export const SCOPES: string[] = z
  .object({ oauth_config: z.object({ scopes: z.object({ bot: z.array(z.string()) }) }) })
  .parse(parse(readFileSync(join(import.meta.dirname, '../deploy/slack/manifest.yaml'), 'utf8'))).oauth_config.scopes.bot;

export const SIGNING_SECRET = 'a-signing-secret';
export const BOT_TOKEN = 'xoxb-test';
export const APP_TOKEN = 'xapp-test';
const BOT_USER = 'U0NETCHECK0';

/** What Slack says of a user besides their name. */
export type UserTraits = {
  readonly deleted?: boolean;
  readonly is_bot?: boolean;
  readonly is_app_user?: boolean;
  readonly is_restricted?: boolean;
  readonly is_ultra_restricted?: boolean;
  readonly is_stranger?: boolean;
  readonly is_invited_user?: boolean;
  readonly team_id?: string;
  readonly tz?: string;
};

/** What Slack says of a channel besides its name. `without` leaves the bot out of it. */
export type ChannelTraits = {
  readonly without?: boolean;
  readonly is_ext_shared?: boolean;
  readonly is_archived?: boolean;
};

/**
 * What goes wrong with a call: an answer of Slack's, or of the network's. `…-after` lets Slack carry the call out
 * first; a `hang` never answers; `late` carries it out only after so many milliseconds, unanswered.
 */
export type Fault =
  | { readonly kind: 'rate-limit'; readonly seconds: number }
  | { readonly kind: 'status'; readonly status: number; readonly after?: boolean }
  | { readonly kind: 'error'; readonly error: string }
  | { readonly kind: 'drop' | 'drop-after' | 'hang' | 'hang-after' }
  | { readonly kind: 'late'; readonly ms: number };

/** Decides for every call whether something goes wrong with it. */
export type FaultPlan = (method: string, parameters: URLSearchParams) => Fault | null;

const Message = z.object({
  ts: z.string(),
  user: z.string().optional(),
  text: z.string(),
  thread_ts: z.string().optional(),
  blocks: z.array(z.record(z.string(), z.unknown())).default([]),
  metadata: z.object({ event_payload: z.object({ run: z.string(), step: z.string() }) }).optional(),
  files: z
    .array(z.object({ name: z.string(), title: z.string(), alt_txt: z.string().optional(), url_private: z.string() }))
    .default([]),
});
export type TestMessage = z.infer<typeof Message>;

/** What only one person is told. */
const Said = z.object({
  text: z.string(),
  blocks: z.array(z.record(z.string(), z.unknown())).default([]),
  replace_original: z.boolean().default(false),
});

/** A Slack to test against: a workspace with its Web API, and a way to type commands and press buttons in it. */
export type TestSlack = Awaited<ReturnType<typeof startSlack>>;

/** Starts a workspace with the given people and channels. Names become ids: `slack.user('ann')`. */
export async function startSlack(world: {
  readonly users: Readonly<Record<string, UserTraits>>;
  readonly channels: Readonly<Record<string, ChannelTraits>>;
  readonly groups?: Readonly<Record<string, readonly string[]>>;
}) {
  const emulator = await createEmulator({
    service: 'slack',
    port: await freePort(),
    seed: {
      slack: {
        strict_scopes: true,
        team: { name: 'Test', domain: 'test' },
        users: Object.keys(world.users).map((name) => ({ name, real_name: name })),
        channels: Object.keys(world.channels).map((name) => ({ name })),
        oauth_apps: [
          {
            client_id: '1.2',
            client_secret: 's',
            name: 'netcheck',
            redirect_uris: [],
            scopes: SCOPES,
            bot_id: 'B0NETCHECK0',
            bot_user_id: BOT_USER,
            bot_name: 'netcheck',
          },
        ],
        tokens: [
          { token: BOT_TOKEN, user: BOT_USER, scopes: SCOPES, bot_id: 'B0NETCHECK0', bot_user_id: BOT_USER },
          {
            token: 'xoxp-admin',
            user: 'admin',
            scopes: ['users:read', 'channels:read', 'channels:history', 'chat:write', 'files:read'],
          },
        ],
      },
    },
  });

  async function ask(method: string, parameters: Record<string, string>, token = 'xoxp-admin'): Promise<unknown> {
    const reply = await fetch(`${emulator.url}/api/${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: new URLSearchParams(parameters),
    });
    return reply.json();
  }

  const Named = z.object({ id: z.string(), name: z.string() });
  const users = z.object({ members: z.array(Named) }).parse(await ask('users.list', { limit: '1000' }));
  const channels = z.object({ channels: z.array(Named) }).parse(await ask('conversations.list', { limit: '1000' }));
  const userIds = new Map(users.members.map(({ id, name }) => [name, id]));
  const channelIds = new Map(channels.channels.map(({ id, name }) => [name, id]));
  const traitsOf = new Map(Object.entries(world.users).map(([name, traits]) => [userIds.get(name) ?? '', traits]));
  const channelTraits = new Map(
    Object.entries(world.channels).map(([name, traits]) => [channelIds.get(name) ?? '', { ...traits }]),
  );
  const groups = new Map(
    Object.entries(world.groups ?? {}).map(([id, names]) => [id, names.map((name) => userIds.get(name) ?? name)]),
  );

  let plan: FaultPlan = () => null;
  let headers: Readonly<Record<string, string>> = { 'x-oauth-scopes': SCOPES.join(',') };
  const calls: { readonly method: string; readonly at: number; readonly parameters: URLSearchParams }[] = [];
  const whispers = new Map<string, z.infer<typeof Said>>();
  const refusedBlocks: string[] = [];
  const views: unknown[] = [];
  /** Calls that are carried out after they were given up; what is not under way at the end never will be. */
  const late: Promise<unknown>[] = [];
  const closing = new AbortController();

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const body = bytes.toString('utf8');
    const path = request.url ?? '';
    if (path.startsWith('/respond/')) {
      whispers.set(path.slice('/respond/'.length), Said.parse(JSON.parse(body)));
      response.writeHead(200).end('ok');
      return;
    }
    const isUpload = path.startsWith('/upload/');
    const method = isUpload ? 'upload' : path.replace('/api/', '');
    const parameters = new URLSearchParams(isUpload ? '' : body);
    calls.push({ method, at: performance.now(), parameters });
    const fault = plan(method, parameters);
    if (isUpload && fault === null) {
      const reply = await fetch(`${emulator.url}${path}`, { method: 'POST', body: new Uint8Array(bytes) });
      response.writeHead(reply.status).end(await reply.text());
      return;
    }
    const carryOut = () => slackAnswer(method, parameters, request.headers.authorization ?? '');
    switch (fault?.kind) {
      case 'rate-limit':
        response.writeHead(429, { 'retry-after': String(fault.seconds) }).end();
        return;
      case 'status':
        if (fault.after === true) await carryOut();
        response.writeHead(fault.status).end('an error');
        return;
      case 'error':
        json(response, { ok: false, error: fault.error }, headers);
        return;
      case 'drop':
        request.socket.destroy();
        return;
      case 'drop-after':
        await carryOut();
        request.socket.destroy();
        return;
      case 'hang':
        return;
      case 'hang-after':
        await carryOut();
        return;
      case 'late':
        late.push(delay(fault.ms, undefined, { signal: closing.signal }).then(carryOut, () => undefined));
        return;
      case undefined:
        json(response, await carryOut(), headers);
    }
  }

  async function slackAnswer(method: string, parameters: URLSearchParams, authorization: string): Promise<unknown> {
    const channel = parameters.get('channel') ?? parameters.get('channel_id') ?? '';
    if (method === 'usergroups.users.list') {
      const members = groups.get(parameters.get('usergroup') ?? '');
      return members === undefined ? { ok: false, error: 'no_such_subteam' } : { ok: true, users: members };
    }
    if (method === 'apps.connections.open') {
      return authorization === `Bearer ${APP_TOKEN}`
        ? { ok: true, url: socketMode.link() }
        : { ok: false, error: 'invalid_auth' };
    }
    if (method === 'views.open') {
      views.push(JSON.parse(parameters.get('view') ?? '{}'));
      return { ok: true, view: { id: 'V1' } };
    }
    if (/^(chat\.|files\.complete)/.test(method) && channelTraits.get(channel)?.without === true)
      return { ok: false, error: 'not_in_channel' };
    if (method === 'chat.postMessage' || method === 'chat.update') {
      const blocks = parameters.get('blocks');
      const faults = slackFaults({ text: parameters.get('text') ?? '', blocks: blocks === null ? [] : JSON.parse(blocks) });
      refusedBlocks.push(...faults);
      if (faults.length > 0) return { ok: false, error: 'invalid_blocks' };
    }
    // The parameter's name in Slack's reference is `alt_txt`; the emulator knows it by another one.
    if (method === 'files.getUploadURLExternal') parameters.set('alt_text', parameters.get('alt_txt') ?? '');
    const reply = await fetch(`${emulator.url}/api/${method}`, { method: 'POST', headers: { authorization }, body: parameters });
    const said = z.record(z.string(), z.unknown()).parse(await reply.json());
    if (said['ok'] !== true) return said;
    if (method === 'files.getUploadURLExternal')
      return { ...said, upload_url: `${url}${new URL(String(said['upload_url'])).pathname}` };
    if (method === 'users.info')
      return {
        ...said,
        user: { ...z.record(z.string(), z.unknown()).parse(said['user']), ...traitsOf.get(parameters.get('user') ?? '') },
      };
    if (method === 'conversations.info') {
      const { without, ...traits } = channelTraits.get(channel) ?? {};
      return {
        ...said,
        channel: { ...z.record(z.string(), z.unknown()).parse(said['channel']), is_member: without !== true, ...traits },
      };
    }
    return said;
  }

  const proxy = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      response.writeHead(500).end(String(error));
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  const url = `http://127.0.0.1:${address.port}`;
  const socketMode = createSocketMode(proxy, url);

  const idOf = (ids: ReadonlyMap<string, string>, name: string): string => {
    const id = ids.get(name);
    if (id === undefined) throw new Error(`there is no ${name} in this workspace`);
    return id;
  };
  const read = async (method: string, parameters: Record<string, string>): Promise<TestMessage[]> =>
    z
      .object({ messages: z.array(Message) })
      .parse(await ask(method, { limit: '1000', ...parameters }))
      .messages.sort((a, b) => (a.ts < b.ts ? -1 : 1));

  return {
    /** What `slack.apiUrl` has to be. */
    apiUrl: `${url}/api/`,
    team: 'T000000001',
    botUser: BOT_USER,
    user: (name: string) => idOf(userIds, name),
    channel: (name: string) => idOf(channelIds, name),
    calls,
    /** The side of Slack that a bot in Socket Mode talks to. */
    socketMode,
    views,
    /** What was sent to Slack and would have been refused there. */
    refusedBlocks,
    /** Decides from now on what goes wrong. */
    fail: (next: FaultPlan) => {
      plan = next;
    },
    heal: () => {
      plan = () => null;
    },
    /** What the answers carry in their headers from now on, beside what they carry anyway. */
    setHeaders: (changed: Readonly<Record<string, string>>) => {
      headers = { ...headers, ...changed };
    },
    /** Lets the bot into a channel, or takes it out. */
    setMember: (channel: string, member: boolean) => {
      const id = idOf(channelIds, channel);
      channelTraits.set(id, { ...channelTraits.get(id), without: !member });
    },
    /** Changes what Slack says of a channel. */
    setTraits: (channel: string, traits: ChannelTraits) => {
      const id = idOf(channelIds, channel);
      channelTraits.set(id, { ...channelTraits.get(id), ...traits });
    },
    /** All messages in a channel that are not in a thread, oldest first. */
    messages: (channel: string) => read('conversations.history', { channel: idOf(channelIds, channel) }),
    /** A message and its replies. */
    thread: (channel: string, ts: string) => read('conversations.replies', { channel: idOf(channelIds, channel), ts }),
    /** The bytes of a file that a message shows. */
    file: async (one: TestMessage): Promise<Buffer> => {
      const [file] = one.files;
      const reply = await fetch(file?.url_private ?? '', { headers: { authorization: 'Bearer xoxp-admin' } });
      if (!reply.ok) throw new Error(`the file of ${one.ts} cannot be read: ${reply.status}`);
      return Buffer.from(await reply.arrayBuffer());
    },
    /** Posts a message as somebody else, with metadata of their choice. */
    forge: (channel: string, text: string, metadata: object) =>
      ask('chat.postMessage', { channel: idOf(channelIds, channel), text, metadata: JSON.stringify(metadata) }),
    responseUrl: (): {
      readonly url: string;
      readonly said: (withinMs?: number) => Promise<string>;
      readonly shown: (withinMs?: number) => Promise<z.infer<typeof Said>>;
    } => {
      const id = randomUUID();
      return {
        url: `${url}/respond/${id}`,
        said: async (withinMs) => (await until(() => whispers.get(id), 'an answer to a click', withinMs)).text,
        shown: (withinMs) => until(() => whispers.get(id), 'an answer to a click', withinMs),
      };
    },
    close: async () => {
      closing.abort();
      await Promise.all(late);
      socketMode.close();
      proxy.closeAllConnections();
      proxy.close();
      await once(proxy, 'close');
      await emulator.close();
    },
  };
}

function json(response: ServerResponse, body: unknown, headers: Readonly<Record<string, string>>): void {
  response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
}

/** Signs a body as Slack does. `at` is seconds since the epoch. */
export function signed(
  body: string,
  at: number = Math.floor(Date.now() / 1_000),
  secret: string = SIGNING_SECRET,
): Record<string, string> {
  const hash = createHmac('sha256', secret).update(`v0:${at}:${body}`).digest('hex');
  return {
    'content-type': 'application/x-www-form-urlencoded',
    'x-slack-request-timestamp': String(at),
    'x-slack-signature': `v0=${hash}`,
  };
}

/** What Slack shows whoever typed a command: the HTTP status of the answer, and its text. */
export type CommandAnswer = {
  readonly status: number;
  readonly text: string;
  readonly blocks: TestMessage['blocks'];
  readonly ms: number;
};

/** Somebody at a keyboard in that workspace, whose commands go to whichever bot is connected over Socket Mode. */
export function createSocketHands(slack: TestSlack) {
  const who = (user: string) => ({ user: { id: slack.user(user), team_id: slack.team }, team: { id: slack.team } });
  return {
    /** Types `/netcheck TEXT`; resolves with what only that person is told, by whichever way it comes. */
    command: async (text: string, { user, channel }: { readonly user: string; readonly channel: string }): Promise<string> => {
      const response = slack.responseUrl();
      const answered = slack.socketMode.deliver('slash_commands', {
        command: '/netcheck',
        text,
        user_id: slack.user(user),
        team_id: slack.team,
        channel_id: slack.channel(channel),
        trigger_id: randomUUID(),
        response_url: response.url,
      });
      const inPlace = answered.then((payload) => z.object({ text: z.string() }).parse(payload).text);
      return Promise.any([inPlace, response.said(15_000)]);
    },
    /** Presses a button; resolves with what only that person is told. */
    click: async (
      button: { readonly action_id: string; readonly value: string },
      { user, channel }: { readonly user: string; readonly channel: string },
    ): Promise<string> => {
      const response = slack.responseUrl();
      await slack.socketMode.deliver('interactive', {
        type: 'block_actions',
        ...who(user),
        channel: { id: slack.channel(channel) },
        trigger_id: randomUUID(),
        response_url: response.url,
        actions: [{ type: 'button', block_id: 'b', ...button }],
      });
      return response.said();
    },
  };
}

/** Somebody at a keyboard in that workspace, whose commands and clicks go to the bot on that port. */
export function createHands(slack: TestSlack, port: number) {
  const endpoint = `http://127.0.0.1:${port}/slack/events`;

  async function send(body: string, headers: Record<string, string>): Promise<CommandAnswer> {
    const from = performance.now();
    const reply = await fetch(endpoint, { method: 'POST', headers, body });
    const text = await reply.text();
    const ms = performance.now() - from;
    if (text === '') return { status: reply.status, text: '', blocks: [], ms };
    const read = Said.safeParse(parseJson(text));
    return read.success ? { status: reply.status, ...read.data, ms } : { status: reply.status, text, blocks: [], ms };
  }

  function commandBody(
    text: string,
    who: { readonly user: string; readonly channel: string; readonly team?: string; readonly enterprise?: string },
  ): string {
    return new URLSearchParams({
      command: '/netcheck',
      text,
      user_id: slack.user(who.user),
      team_id: who.team ?? slack.team,
      ...(who.enterprise === undefined ? {} : { enterprise_id: who.enterprise }),
      channel_id: slack.channel(who.channel),
      trigger_id: randomUUID(),
      response_url: slack.responseUrl().url,
    }).toString();
  }

  return {
    send,
    commandBody,
    /** Types `/netcheck TEXT`. */
    command: (
      text: string,
      who: { readonly user: string; readonly channel: string; readonly team?: string; readonly enterprise?: string },
    ) => {
      const body = commandBody(text, who);
      return send(body, signed(body));
    },
    /** Presses a button; `said` waits for what only that person is told. */
    click: async (
      button: { readonly action_id: string; readonly value: string },
      who: { readonly user: string; readonly channel: string; readonly team?: string },
    ) => {
      const response = slack.responseUrl();
      const payload = {
        type: 'block_actions',
        user: { id: slack.user(who.user), team_id: who.team ?? slack.team },
        team: { id: who.team ?? slack.team },
        channel: { id: slack.channel(who.channel) },
        trigger_id: randomUUID(),
        response_url: response.url,
        actions: [{ type: 'button', block_id: 'b', ...button }],
      };
      const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
      const { status } = await send(body, signed(body));
      return { status, said: response.said, shown: response.shown };
    },
    /** Submits a modal with one input. */
    submit: async (
      view: { readonly callback_id: string; readonly private_metadata: string },
      text: string,
      who: { readonly user: string },
    ) => {
      const payload = {
        type: 'view_submission',
        user: { id: slack.user(who.user), team_id: slack.team },
        team: { id: slack.team },
        view: { ...view, type: 'modal', state: { values: { reason: { reason: { value: text } } } } },
      };
      const body = new URLSearchParams({ payload: JSON.stringify(payload) }).toString();
      return send(body, signed(body));
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const Button = z.object({
  type: z.literal('button'),
  action_id: z.string(),
  text: z.object({ text: z.string() }),
  value: z.string(),
});
export type TestButton = z.infer<typeof Button>;

/** The buttons of a message. */
export function buttonsOf(message: Pick<TestMessage, 'blocks'>): TestButton[] {
  return message.blocks.flatMap((block) => {
    const read = z.object({ type: z.literal('actions'), elements: z.array(Button) }).safeParse(block);
    return read.success ? read.data.elements : [];
  });
}

/** All text that a message shows. */
export function textOf(message: Pick<TestMessage, 'blocks'>): string {
  const texts: string[] = [];
  const collect = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(collect);
    else if (value !== null && typeof value === 'object') {
      if ('text' in value && typeof value.text === 'string') texts.push(value.text);
      Object.values(value).forEach(collect);
    }
  };
  collect(message.blocks);
  return texts.join('\n');
}
