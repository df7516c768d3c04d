import type { App } from '@slack/bolt';
import type { KnownBlock } from '@slack/types';
import { z } from 'zod';
import { type Answer, buttons, section } from '../formatters/slack/blocks.ts';
import { code, type Mrkdwn, md } from '../formatters/slack/markup.ts';
import { messageOf } from '../model/text.ts';
import type { RemedyRef } from '../policy.ts';
import { redisTrouble } from '../store/redis.ts';
import { TOO_LATE, within } from './acceptance.ts';
import type { Ability, Caller, Grant } from './authorize.ts';
import { whisper } from './front-door.ts';
import type { Command } from './grammar.ts';
import { parseCommand, splitCluster } from './grammar.ts';
import type { ClusterStores, Services } from './services.ts';

/**
 * One word of `/netcheck`. `handle` gets the proof that whoever typed it may do so, and returns the answer that only
 * they see. It has until `deadline` (on `performance.now()`'s clock) to start anything.
 */
type CommandListener<W extends Command['word'], A extends Ability> = {
  readonly word: W;
  readonly ability: A;
  readonly handle: (
    grant: Grant<A>,
    command: Command & { readonly word: W },
    services: Services,
    deadline: number,
  ) => Promise<Mrkdwn | Answer>;
};

/** What a button or a modal is about. */
type Target = { readonly cluster: string; readonly id: string; readonly item: string | null };

/** The remedy that a click is about, for policy; null where it is about none, or that cannot be told. */
type About = (target: Target, stores: ClusterStores) => Promise<RemedyRef | null>;

/** A button. The answer, if there is one, is seen only by whoever pressed it. `trigger` opens a modal. */
type ButtonListener<A extends Ability> = {
  readonly action: string | RegExp;
  readonly ability: A;
  readonly about?: About;
  readonly handle: (
    grant: Grant<A>,
    click: Target & { readonly trigger: string; readonly caller: Caller },
    services: Services,
    deadline: number,
  ) => Promise<Mrkdwn | Answer | null>;
};

/** A modal with one input. The answer, if there is one, is shown under it, and the modal stays open. */
type ModalListener<A extends Ability> = {
  readonly callback: string;
  readonly ability: A;
  readonly about?: About;
  readonly handle: (
    grant: Grant<A>,
    submission: Target & { readonly text: string; readonly caller: Caller },
    services: Services,
  ) => Promise<Mrkdwn | null>;
};

/** A word of `/netcheck` that asks for permission before it does anything. */
export type GuardedCommand<W extends Command['word']> = {
  readonly word: W;
  readonly ability: Ability;
  readonly run: (
    caller: Caller,
    command: Command & { readonly word: W },
    services: Services,
    deadline: number,
  ) => Promise<Mrkdwn | Answer>;
};

/** A button that asks for permission before it does anything. */
export type GuardedButton = {
  readonly action: string | RegExp;
  readonly ability: Ability;
  readonly run: (
    caller: Caller,
    value: string,
    trigger: string,
    services: Services,
    deadline: number,
  ) => Promise<Mrkdwn | Answer | null>;
};

/** A modal that asks for permission before it does anything. */
export type GuardedModal = {
  readonly callback: string;
  readonly ability: Ability;
  readonly run: (caller: Caller, value: string, text: string, services: Services, deadline: number) => Promise<Mrkdwn | null>;
};

/** All words of `/netcheck`. */
export type Commands = { readonly [W in Command['word']]: GuardedCommand<W> };

/** Makes a word of `/netcheck` out of a listener: only through here does a handler get at a command. */
export function defineCommand<W extends Command['word'], A extends Ability>(listener: CommandListener<W, A>): GuardedCommand<W> {
  return {
    word: listener.word,
    ability: listener.ability,
    run: async (caller, command, services, deadline) => {
      const grant = await services.authorize(listener.ability, caller);
      return grant.ok ? listener.handle(grant.value, command, services, deadline) : grant.error;
    },
  };
}

/** Makes a button out of a listener. */
export function defineButton<A extends Ability>(listener: ButtonListener<A>): GuardedButton {
  return {
    action: listener.action,
    ability: listener.ability,
    run: async (caller, value, trigger, services, deadline) => {
      const allowed = await guard(listener, caller, value, services, deadline);
      if (allowed === null || typeof allowed === 'string') return allowed;
      return listener.handle(
        allowed.grant,
        { ...allowed.target, trigger, caller: { ...caller, cluster: allowed.grant.cluster } },
        services,
        deadline,
      );
    },
  };
}

/** Makes a modal out of a listener. */
export function defineModal<A extends Ability>(listener: ModalListener<A>): GuardedModal {
  return {
    callback: listener.callback,
    ability: listener.ability,
    run: async (caller, value, text, services, deadline) => {
      const allowed = await guard(listener, caller, value, services, deadline);
      if (allowed === null || typeof allowed === 'string') return allowed;
      return listener.handle(
        allowed.grant,
        { ...allowed.target, text, caller: { ...caller, cluster: allowed.grant.cluster } },
        services,
      );
    },
  };
}

/** The grant and the target of a click, or why there is none. Null when it comes too late to have an effect. */
async function guard<A extends Ability>(
  { ability, about }: { readonly ability: A; readonly about?: About },
  caller: Caller,
  value: string,
  services: Services,
  deadline: number,
): Promise<{ readonly grant: Grant<A>; readonly target: Target } | Mrkdwn | null> {
  const target = parseTarget(value);
  const named = { ...caller, cluster: target?.cluster ?? null };
  let remedy: RemedyRef | null = null;
  if (about !== undefined && target !== null) {
    // What it is about is looked up for those only who may know it.
    const reader = await services.authorize('read', named);
    if (!reader.ok) return reader.error;
    remedy = await about(target, services.stores(reader.value.cluster));
  }
  const grant = await services.authorize(ability, named, remedy);
  if (!grant.ok) return grant.error;
  // Whoever pressed it was told by now that it took too long: it must not take effect behind their back.
  if (performance.now() > deadline) return null;
  if (target === null || target.cluster !== grant.value.cluster)
    return md`This belongs to another version or cluster of netcheck. Check again.`;
  return { grant: grant.value, target };
}

/**
 * Registers all listeners. Counts the work that is under way, so that a stopping bot can wait for it. */
export function registerListeners(
  app: App,
  listeners: {
    readonly commands: Commands;
    readonly buttons: readonly GuardedButton[];
    readonly modals: readonly GuardedModal[];
  },
  services: Services,
  track: <T>(work: Promise<T>) => Promise<T>,
): void {
  app.command('/netcheck', ({ ack, body, context }) =>
    track(onCommand(listeners.commands, body, (said) => ack(answer(said)), services, deadlineOf(context, services))),
  );
  for (const button of listeners.buttons) {
    app.action(button.action, ({ ack, body, context }) =>
      track(onClick(button, body, () => ack(), services, deadlineOf(context, services))),
    );
  }
  for (const modal of listeners.modals) {
    app.view(modal.callback, ({ ack, body, context }) => {
      const reply = (error: string | null) =>
        error === null ? ack() : ack({ response_action: 'errors', errors: { reason: error } });
      return track(onSubmission(modal, body, reply, services, deadlineOf(context, services)));
    });
  }
  app.error(async (error) => {
    services.log.error({ error: error.message, stack: error.stack ?? '' }, 'a listener failed');
  });
}

/** Until when something may be started: what Slack waits for is counted from when its request came. */
function deadlineOf(context: { readonly [key: string]: unknown }, services: Services): number {
  const { arrivedAt } = context;
  return (typeof arrivedAt === 'number' ? arrivedAt : performance.now()) + services.config.timeouts.acceptMs;
}

function answer(said: Mrkdwn | Answer): { response_type: 'ephemeral'; text: string; blocks: KnownBlock[] } {
  return { response_type: 'ephemeral', ...shown(said) };
}

/** What somebody is told, as a message. */
function shown(said: Mrkdwn | Answer): { text: string; blocks: KnownBlock[] } {
  if (typeof said === 'string') return { text: said, blocks: [section(said)] };
  const row = said.buttons.length === 0 ? [] : [buttons('answer', said.buttons)];
  return { text: said.text, blocks: [said.text, ...(said.more ?? [])].map(section).concat(row) };
}

const CommandBody = z.object({
  text: z.string().default(''),
  user_id: z.string(),
  team_id: z.string(),
  enterprise_id: z.string().optional(),
  channel_id: z.string(),
});

async function onCommand(
  commands: Commands,
  body: unknown,
  reply: (said: Mrkdwn | Answer) => Promise<void>,
  services: Services,
  deadline: number,
): Promise<void> {
  const read = CommandBody.safeParse(body);
  if (!read.success) return reply(md`Slack sent this command in a form that netcheck does not understand.`);
  const { text, user_id, team_id, enterprise_id, channel_id } = read.data;
  const split = splitCluster(text);
  const cluster = split.ok ? split.value.cluster : null;
  const caller: Caller = { user: user_id, team: team_id, enterprise: enterprise_id ?? null, channel: channel_id, cluster };
  const parsed = split.ok ? parseCommand(split.value.rest) : split;
  const said = parsed.ok
    ? runCommand(commands, parsed.value, caller, services, deadline)
    : refusalOr(caller, parsed.error, services);
  await reply(
    await inTime(
      said,
      services,
      deadline,
      md`Not accepted: it took too long to find out whether you may. Nothing was started; try again in a moment.`,
    ),
  );
}

/** Somebody who may not use netcheck is told that, and nothing about what they typed. */
async function refusalOr(caller: Caller, text: Mrkdwn, services: Services): Promise<Mrkdwn> {
  const may = await services.authorize('read', caller);
  return may.ok ? text : may.error;
}

function runCommand(
  commands: Commands,
  command: Command,
  caller: Caller,
  services: Services,
  deadline: number,
): Promise<Mrkdwn | Answer> {
  switch (command.word) {
    case 'cluster':
      return commands.cluster.run(caller, command, services, deadline);
    case 'node':
      return commands.node.run(caller, command, services, deadline);
    case 'pod':
      return commands.pod.run(caller, command, services, deadline);
    case 'status':
      return commands.status.run(caller, command, services, deadline);
    case 'digest':
      return commands.digest.run(caller, command, services, deadline);
    case 'digest-list':
      return commands['digest-list'].run(caller, command, services, deadline);
    case 'digest-run':
      return commands['digest-run'].run(caller, command, services, deadline);
    case 'digest-remove':
      return commands['digest-remove'].run(caller, command, services, deadline);
    case 'history':
      return commands.history.run(caller, command, services, deadline);
    case 'policy':
      return commands.policy.run(caller, command, services, deadline);
    case 'help':
      return commands.help.run(caller, command, services, deadline);
  }
}

const ClickBody = z.object({
  user: z.object({ id: z.string(), team_id: z.string().optional() }),
  team: z.object({ id: z.string(), enterprise_id: z.string().optional() }).nullish(),
  channel: z.object({ id: z.string() }),
  trigger_id: z.string().default(''),
  response_url: z.url({ protocol: /^https?$/ }).optional(),
  actions: z.array(z.object({ value: z.string().default('') })).min(1),
});

async function onClick(
  button: GuardedButton,
  body: unknown,
  ack: () => Promise<void>,
  services: Services,
  deadline: number,
): Promise<void> {
  const read = ClickBody.safeParse(body);
  if (!read.success) return ack();
  const { user, team, channel, trigger_id, response_url, actions } = read.data;
  const caller = {
    user: user.id,
    team: user.team_id ?? team?.id ?? '',
    enterprise: team?.enterprise_id ?? null,
    channel: channel.id,
    cluster: null,
  };
  const work = button.run(caller, actions[0]?.value ?? '', trigger_id, services, deadline);
  const text = await inTime(
    work,
    services,
    deadline,
    md`This took too long, so it may not have happened. The message shows how things stand; press again if nothing changed.`,
  );
  await ack();
  if (text !== null && response_url !== undefined)
    await whisper(response_url, { ...shown(text), replace_original: typeof text !== 'string' && text.replace === true });
}

const SubmissionBody = z.object({
  user: z.object({ id: z.string(), team_id: z.string().optional() }),
  team: z.object({ id: z.string(), enterprise_id: z.string().optional() }).nullish(),
  view: z.object({
    private_metadata: z.string(),
    state: z.object({ values: z.object({ reason: z.object({ reason: z.object({ value: z.string().nullish() }) }) }) }),
  }),
});

async function onSubmission(
  modal: GuardedModal,
  body: unknown,
  reply: (error: string | null) => Promise<void>,
  services: Services,
  deadline: number,
): Promise<void> {
  const read = SubmissionBody.safeParse(body);
  if (!read.success) return reply('netcheck does not understand this form.');
  const { user, team, view } = read.data;
  const [channel = '', value = ''] = view.private_metadata.split(' ');
  const caller = {
    user: user.id,
    team: user.team_id ?? team?.id ?? '',
    enterprise: team?.enterprise_id ?? null,
    channel,
    cluster: null,
  };
  const work = modal.run(caller, value, view.state.values.reason.reason.value ?? '', services, deadline);
  await reply(
    await inTime(
      work,
      services,
      deadline,
      md`This took too long, so it may not have happened. Close this and look at the message.`,
    ),
  );
}

/** What a button stands for: `CLUSTER/ID`, or `CLUSTER/ID/ITEM`, an item being a proposal (`p1`) or the beginning of a digest (`d0123…`). Null for anything else. A page of the history is `h` and its number. */
export function parseTarget(value: string): Target | null {
  const match = /^([a-z0-9-]{1,63})\/([arsh][0-9a-z]{1,31})(?:\/(p[0-9]{1,4}|d[0-9a-f]{16}))?$/.exec(value);
  if (match === null) return null;
  return { cluster: match[1] ?? '', id: match[2] ?? '', item: match[3] ?? null };
}

/** The answer to some work; when it takes longer than Slack waits, or fails, a sentence that says so. */
async function inTime<T>(work: Promise<T>, services: Services, deadline: number, late: Mrkdwn): Promise<T | Mrkdwn> {
  try {
    return await within(work, deadline + 500 - performance.now());
  } catch (error) {
    if (error === TOO_LATE) {
      work.catch((after: unknown) => services.log.warn({ error: String(after) }, 'work that took too long failed'));
      return late;
    }
    const trouble = redisTrouble(error);
    if (trouble !== null) return md`Not accepted: ${code(trouble)}. Nothing was started; try again in a moment.`;
    services.log.error(
      { error: messageOf(error), stack: error instanceof Error ? (error.stack ?? '') : '' },
      'a listener failed',
    );
    return md`Not accepted: an internal error, which is in netcheck's log.`;
  }
}
