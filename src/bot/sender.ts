import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { section } from '../formatters/slack/blocks.ts';
import { md, plain } from '../formatters/slack/markup.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { messageOf } from '../model/text.ts';
import type { OutboxEntry, SlackMessage } from '../model/wire/outbox.ts';
import type { Claim, Outbox, Settlement } from '../store/outbox.ts';
import type { Log } from '../store/redis.ts';
import type { Draw, Drawing } from './draw.ts';
import type { SlackCall, SlackFault, SlackUpload } from './slack-api.ts';

/** How often and how long, in milliseconds. */
export type DeliveryTuning = {
  /** Slack takes about one message a second in a channel. */
  readonly channelGapMs: number;
  /** How often one message shows new progress, at most. */
  readonly refreshMs: number;
  /** The first pause after a failure; it doubles up to thirty seconds. */
  readonly retryMs: number;
  /** How long after an attempt of unknown fate Slack is asked for it, and asked again. */
  readonly lookMs: number;
  /** How long a call may take. An attempt of another process counts as under way for that long. */
  readonly timeoutMs: number;
  /** How long the right to send is kept without being renewed. */
  readonly leaseMs: number;
  readonly pollMs: number;
  /** When a message that may have been posted twice, or changed late, is looked at once more. */
  readonly settleMs: number;
};

export const DELIVERY: DeliveryTuning = {
  channelGapMs: 1_050,
  refreshMs: 2_500,
  retryMs: 500,
  lookMs: 1_500,
  timeoutMs: 10_000,
  leaseMs: 8_000,
  pollMs: 1_000,
  settleMs: 12_000,
};

const WAKE_GAP_MS = 25;
const LOOKS = 2;
const GIVE_UP_MS = 86_400_000;
const HISTORY_PAGES = 10;

/** Slack refuses the blocks, not the message: it is shown as text rather than not at all. */
const TOO_FANCY =
  /^(invalid_blocks|invalid_blocks_format|msg_blocks_too_long|msg_too_long|block_mismatch|invalid_metadata_format|metadata_too_large|invalid_arguments)$/;
/** The message is there and cannot be changed any more. */
const FROZEN = /^(cant_update_message|edit_window_closed|update_failed|is_inactive)$/;

/** Sends what the outbox holds, in order and each step once, and the latest progress in between. */
export type Sender = {
  readonly start: () => void;
  /** Stops after the call that is under way, and gives the right to send to others. */
  readonly stop: () => Promise<void>;
  /** There is something new in the outbox. */
  readonly wake: () => void;
  /** Shows how far something is. Only the latest counts; what cannot be shown is forgotten. */
  readonly refresh: (ref: string, channel: string, step: string, message: SlackMessage) => void;
  /** Nothing is shown of this any more but what the outbox holds. */
  readonly forget: (ref: string, step: string) => void;
};

type Refresh = {
  readonly ref: string;
  readonly channel: string;
  readonly step: string;
  readonly message: SlackMessage;
  readonly text: string;
};

export function createSender(options: {
  readonly outbox: Outbox;
  readonly call: SlackCall;
  readonly upload: SlackUpload;
  readonly draw: Draw;
  /** The bot's own user id: what others posted is never taken for ours. */
  readonly self: string;
  readonly log: Log;
  readonly tuning: DeliveryTuning;
}): Sender {
  const { outbox, call, upload, draw, self, log, tuning } = options;
  const holder = randomUUID();
  const stopping = new AbortController();
  const pumps = new Map<string, Promise<void>>();
  const due = new Map<string, Set<string>>();
  const nextCallAt = new Map<string, number>();
  const refreshes = new Map<string, Refresh>();
  const shown = new Map<string, { readonly text: string; readonly at: number }>();
  /** Attempts of this process that are over, so that their fate can be asked for without waiting. */
  const over = new Set<string>();
  /** Messages of which an update may still be applied late, until when. */
  const dubious = new Map<string, number>();
  /** Messages posted soon after this process got the right to send: the one that had it before has not changed them. */
  const own = new Set<string>();
  let leasedSince: number | null = null;
  let renewAt = 0;
  let woken = Promise.withResolvers<void>();
  let running: Promise<void> | null = null;

  const keyOf = (ref: string, step: string): string => `${ref} ${step}`;

  async function run(): Promise<void> {
    let quiet = true;
    while (!stopping.signal.aborted) {
      try {
        if (await holdsLease()) {
          for (const [channel, refs] of await outbox.due(500)) {
            const known = due.get(channel) ?? new Set();
            for (const ref of refs) known.add(ref);
            due.set(channel, known);
            pump(channel);
          }
          for (const { channel } of refreshes.values()) pump(channel);
        }
        quiet = true;
      } catch (error) {
        if (quiet) log.warn({ error: messageOf(error) }, 'the outbox cannot be read; trying again');
        quiet = false;
      }
      const timer = setTimeout(woken.resolve, tuning.pollMs);
      await woken.promise;
      clearTimeout(timer);
      // Many wake-ups at once are one.
      await pause(WAKE_GAP_MS);
      woken = Promise.withResolvers();
    }
    await Promise.all(pumps.values());
    await outbox.releaseLease(holder).catch(() => undefined);
  }

  function loseLease(): void {
    leasedSince = null;
    own.clear();
  }

  /** Whether a call of the process that had the right to send before may still be under way. */
  function isFresh(): boolean {
    return leasedSince !== null && performance.now() - leasedSince < tuning.timeoutMs;
  }

  async function holdsLease(): Promise<boolean> {
    const now = performance.now();
    if (leasedSince !== null && now < renewAt) return true;
    if (await outbox.lease(holder, tuning.leaseMs)) {
      leasedSince ??= now;
      renewAt = now + tuning.leaseMs / 3;
      return true;
    }
    loseLease();
    return false;
  }

  function pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: stopping.signal }).catch(() => undefined);
  }

  /** One pump for each channel: calls in a channel are made one after the other, in different ones side by side. */
  function pump(channel: string): void {
    if (pumps.has(channel)) return;
    const work = drain(channel)
      .catch((error: unknown) => log.warn({ channel, error: messageOf(error) }, 'sending was interrupted; trying again'))
      .finally(() => pumps.delete(channel));
    pumps.set(channel, work);
  }

  async function drain(channel: string): Promise<void> {
    while (!stopping.signal.aborted) {
      const wait = (nextCallAt.get(channel) ?? 0) - performance.now();
      if (wait > 0) await pause(wait);
      if (stopping.signal.aborted) return;
      const [ref] = due.get(channel) ?? [];
      if (ref !== undefined) {
        // Runs take turns: one with much to say does not keep another one waiting.
        due.get(channel)?.delete(ref);
        if (await sendNext(channel, ref)) due.get(channel)?.add(ref);
        continue;
      }
      const fresh = [...refreshes.values()].find((one) => one.channel === channel && mayRefresh(one));
      if (fresh === undefined) return;
      await sendRefresh(fresh);
    }
  }

  function mayRefresh({ ref, step }: Refresh): boolean {
    return performance.now() - (shown.get(keyOf(ref, step))?.at ?? -Infinity) >= tuning.refreshMs;
  }

  async function sendRefresh(one: Refresh): Promise<void> {
    const key = keyOf(one.ref, one.step);
    refreshes.delete(key);
    const ts = (await holdsLease()) ? await outbox.refreshable(one.ref, one.step) : null;
    if (ts === null || shown.get(key)?.text === one.text) return;
    shown.set(key, { text: one.text, at: performance.now() });
    const reply = await spaced(one.channel, 'chat.update', {
      ...content(one.message, one.ref, one.step),
      channel: one.channel,
      ts,
    });
    if (!reply.ok && reply.error.kind === 'unknown') dubious.set(ts, performance.now() + 60_000);
  }

  /** A call that counts towards what Slack takes in a channel. */
  async function spaced(
    channel: string,
    method: string,
    parameters: Record<string, unknown>,
  ): Promise<Result<unknown, SlackFault>> {
    nextCallAt.set(channel, performance.now() + tuning.channelGapMs);
    const reply = await call(method, parameters);
    if (!reply.ok && reply.error.kind === 'rate-limited') nextCallAt.set(channel, performance.now() + reply.error.retryAfterMs);
    return reply;
  }

  /** Sends the next step of a run. False when there is nothing to do for it now. */
  async function sendNext(channel: string, ref: string): Promise<boolean> {
    if (!(await holdsLease())) return false;
    const token = randomUUID();
    const claimed = await outbox.claim(holder, channel, ref, token);
    switch (claimed.kind) {
      case 'lost':
        loseLease();
        renewAt = 0;
        return false;
      case 'empty':
      case 'waits':
        return false;
      case 'unreadable':
        log.error({ fault: claimed.fault }, 'a message that cannot be read was dropped');
        return outbox.settle(channel, ref, claimed.step, 'reply', token, failed(claimed.fault.message, false));
      case 'claim':
        return send(channel, claimed.claim);
    }
  }

  async function send(channel: string, claim: Claim): Promise<boolean> {
    const { entry, ref } = claim;
    if (claim.now - claim.firstAt > GIVE_UP_MS)
      return settle(channel, claim, failed('Slack did not take it for a day', entry.op === 'root'));
    switch (entry.op) {
      case 'root':
        return post(channel, claim, entry.message, null);
      case 'reply':
        if (claim.root === '') return settle(channel, claim, failed('the message that it belongs under was never posted', true));
        return post(channel, claim, entry.message, claim.root);
      case 'picture':
        if (claim.root === '') return settle(channel, claim, failed('the message that it belongs under was never posted', true));
        return postPicture(channel, claim, claim.root);
      case 'update':
        forget(ref, entry.of);
        if (claim.target === '') return settle(channel, claim, failed('the message that it changes was never posted', false));
        return update(channel, claim, entry.message, entry.of, claim.target);
      case 'again':
        return update(channel, claim, entry.message, entry.of, entry.ts);
      case 'tidy':
        return tidy(channel, claim, entry);
    }
  }

  async function post(channel: string, claim: Claim, message: SlackMessage, thread: string | null): Promise<boolean> {
    const { ref, entry } = claim;
    if (claim.fateUnknown) {
      const answer = await lookFor(channel, claim, thread);
      if (answer !== 'post') return answer;
    }
    const target = { channel, unfurl_links: false, unfurl_media: false, ...(thread === null ? {} : { thread_ts: thread }) };
    let reply = await spaced(channel, 'chat.postMessage', { ...content(message, ref, entry.step), ...target });
    if (!reply.ok && reply.error.kind === 'refused' && TOO_FANCY.test(reply.error.error)) {
      log.error({ ref, step: entry.step, error: reply.error.error }, 'Slack refused the layout of a message; it is sent as text');
      reply = await spaced(channel, 'chat.postMessage', {
        ...content({ text: message.text, blocks: [] }, ref, entry.step),
        ...target,
      });
    }
    if (reply.ok) {
      const ts = z.object({ ts: z.string() }).safeParse(reply.value);
      if (!ts.success) return later(channel, claim, { kind: 'unknown', message: 'an answer without ts' });
      if (!(await settle(channel, claim, { state: 'sent', ts: ts.data.ts }))) {
        // Somebody else took this step over while the call was under way: theirs counts.
        await call('chat.delete', { channel, ts: ts.data.ts });
        return false;
      }
      if (isFresh()) own.add(ts.data.ts);
      if (claim.fateUnknown || claim.tries > 1) await tidyLater(channel, claim, ts.data.ts, thread);
      return true;
    }
    return later(channel, claim, reply.error);
  }

  /** Draws a picture and posts it in a thread. What Slack does not take as a picture is told in words. */
  async function postPicture(channel: string, claim: Claim, thread: string): Promise<boolean> {
    const { ref, entry } = claim;
    if (claim.fateUnknown) {
      const answer = await lookFor(channel, claim, thread);
      if (answer !== 'post') return answer;
    }
    const drawing = await draw(ref);
    if (drawing === null) return settle(channel, claim, failed('there is nothing to draw any more', false));
    const reply = await shareFile(channel, thread, fileNameOf(ref, entry.step), drawing);
    if (reply.ok) {
      if (!(await settle(channel, claim, { state: 'sent', ts: 'file' }))) return false;
      // Slack shares a file a while after it took it: only then can be seen whether an earlier attempt came through.
      if (claim.fateUnknown || claim.tries > 1) await tidyLater(channel, claim, 'file', thread);
      return true;
    }
    if (reply.error.kind !== 'refused') return later(channel, claim, reply.error);
    log.error({ ref, step: entry.step, error: reply.error.error }, 'Slack refused a picture; it is told in words');
    const text = `${drawing.alt} (The picture could not be uploaded: Slack answered ${reply.error.error}.)`;
    const message = { text, blocks: [section(md`${plain(text, 2_900)}`)] };
    await outbox.push(ref, channel, [{ op: 'reply', step: `${entry.step}-in-words`, message }]);
    return settle(channel, claim, failed(reply.error.error, false));
  }

  /** Uploads a file and shares it in a thread. Nothing is visible before the last of the three calls. */
  async function shareFile(
    channel: string,
    thread: string,
    name: string,
    drawing: Drawing,
  ): Promise<Result<unknown, SlackFault>> {
    const { png, alt, title } = drawing;
    const place = await call('files.getUploadURLExternal', { filename: name, length: png.byteLength, alt_txt: alt });
    if (!place.ok) return place.error.kind === 'unknown' ? fail({ kind: 'unsent', message: place.error.message }) : place;
    const read = z.object({ upload_url: z.string(), file_id: z.string() }).safeParse(place.value);
    if (!read.success) return fail({ kind: 'unsent', message: 'an answer without upload_url' });
    const sent = await upload(read.data.upload_url, png);
    if (!sent.ok) return sent;
    return spaced(channel, 'files.completeUploadExternal', {
      files: JSON.stringify([{ id: read.data.file_id, title }]),
      channel_id: channel,
      thread_ts: thread,
    });
  }

  /** Finds out whether an attempt of unknown fate was posted. 'post' when it was not, and it is our turn to. */
  async function lookFor(channel: string, claim: Claim, thread: string | null): Promise<'post' | boolean> {
    const { ref, entry } = claim;
    const key = keyOf(ref, entry.step);
    const underWayMs = over.has(key) ? 0 : claim.claimedAt + tuning.timeoutMs + 500 - claim.now;
    if (underWayMs > 0) {
      await outbox.defer(channel, ref, entry.step, claim.token, 'unknown', underWayMs);
      return false;
    }
    const found = await find(channel, ref, entry.step, thread, claim.firstAt);
    if (found.ok && found.value[0] !== undefined) {
      await settle(channel, claim, { state: 'sent', ts: found.value[0] });
      await tidyLater(channel, claim, found.value[0], thread);
      return true;
    }
    if (!found.ok && found.error.kind !== 'refused') {
      await outbox.defer(channel, ref, entry.step, claim.token, 'unknown', backoff(claim.tries, found.error));
      return false;
    }
    // Slack may show a message in the history a moment after it took it: so it is asked twice. Where it may not be
    // asked at all, a message shown twice is better than one that is lost.
    if (found.ok && claim.looks + 1 < LOOKS) {
      await outbox.defer(channel, ref, entry.step, claim.token, 'looked', tuning.lookMs);
      return false;
    }
    over.delete(key);
    await outbox.defer(channel, ref, entry.step, claim.token, 'repost', 0);
    return 'post';
  }

  async function update(channel: string, claim: Claim, message: SlackMessage, of: string, ts: string): Promise<boolean> {
    const { ref, entry } = claim;
    let reply = await spaced(channel, 'chat.update', { ...content(message, ref, of), channel, ts });
    if (!reply.ok && reply.error.kind === 'refused' && TOO_FANCY.test(reply.error.error)) {
      log.error({ ref, step: entry.step, error: reply.error.error }, 'Slack refused the layout of a message; it is sent as text');
      reply = await spaced(channel, 'chat.update', { ...content({ text: message.text, blocks: [] }, ref, of), channel, ts });
    }
    if (reply.ok) {
      const mayChange = (dubious.get(ts) ?? 0) > performance.now() || (isFresh() && !own.has(ts));
      if (entry.op === 'update' && mayChange) {
        const again: OutboxEntry = {
          op: 'again',
          step: `${entry.step}-again`,
          of,
          ts,
          message,
          notBefore: claim.now + tuning.settleMs,
        };
        await outbox.push(`${ref}#again`, channel, [again]);
      }
      return settle(channel, claim, { state: 'sent', ts });
    }
    if (reply.error.kind === 'unknown') dubious.set(ts, performance.now() + 60_000);
    if (reply.error.kind === 'refused' && entry.op === 'update' && FROZEN.test(reply.error.error)) {
      await outbox.push(ref, channel, [{ op: 'reply', step: `${entry.step}-as-reply`, message }]);
    }
    if (reply.error.kind === 'refused') return later(channel, claim, reply.error);
    // Changing a message twice does no harm: its fate need not be known.
    return later(channel, claim, reply.error.kind === 'unknown' ? { kind: 'unsent', message: reply.error.message } : reply.error);
  }

  async function tidyLater(channel: string, claim: Claim, ts: string, thread: string | null): Promise<void> {
    const { entry, ref } = claim;
    const notBefore = claim.now + tuning.settleMs;
    await outbox.push(`${ref}#tidy`, channel, [
      { op: 'tidy', step: `${entry.step}-tidy`, of: entry.step, ts, thread, since: claim.firstAt, notBefore },
    ]);
  }

  async function tidy(channel: string, claim: Claim, entry: OutboxEntry & { op: 'tidy' }): Promise<boolean> {
    const ref = claim.ref.split('#')[0] ?? '';
    const found = await find(channel, ref, entry.of, entry.thread, entry.since);
    if (!found.ok && found.error.kind !== 'refused')
      return later(channel, claim, { kind: 'unsent', message: 'Slack could not be asked' });
    const keep = found.ok && !found.value.includes(entry.ts) ? found.value[0] : entry.ts;
    for (const ts of found.ok ? found.value : []) {
      if (ts !== keep) await spaced(channel, 'chat.delete', { channel, ts });
    }
    return settle(channel, claim, { state: 'sent', ts: entry.ts });
  }

  /** The messages that a step posted, oldest first, by the mark that every message of ours carries. */
  async function find(
    channel: string,
    ref: string,
    step: string,
    thread: string | null,
    since: number,
  ): Promise<Result<string[], SlackFault>> {
    const oldest = String(Math.floor(since / 1_000) - 120);
    const found: string[] = [];
    let cursor = '';
    for (let page = 0; page < HISTORY_PAGES; page += 1) {
      const reply = await call(thread === null ? 'conversations.history' : 'conversations.replies', {
        channel,
        oldest,
        include_all_metadata: true,
        limit: 200,
        ...(thread === null ? {} : { ts: thread }),
        ...(cursor === '' ? {} : { cursor }),
      });
      if (!reply.ok) return reply;
      const read = History.safeParse(reply.value);
      if (!read.success) return fail({ kind: 'unknown', message: 'an answer of an unknown form' });
      for (const { ts, user, metadata, files } of read.data.messages) {
        const isMarked = metadata?.event_payload.run === ref && metadata.event_payload.step === step;
        // A message with a file takes no mark: there it is the name of the file.
        const isNamed = files?.some(({ name }) => name === fileNameOf(ref, step)) === true;
        if (user === self && (isMarked || isNamed)) found.push(ts);
      }
      cursor = read.data.response_metadata?.next_cursor ?? '';
      const last = read.data.messages.at(-1)?.ts ?? '0';
      if (cursor === '' || (thread === null && Number(last) < Number(oldest))) break;
    }
    return ok(found.sort());
  }

  /** Leaves a step for later, or ends it when Slack will not have it. */
  async function later(channel: string, claim: Claim, fault: SlackFault): Promise<boolean> {
    const { ref, entry, token } = claim;
    switch (fault.kind) {
      case 'refused':
        log.error({ ref, step: entry.step, error: fault.error }, 'Slack refused a message');
        return settle(channel, claim, failed(fault.error, entry.op === 'root' || GONE.test(fault.error)));
      case 'rate-limited':
        await outbox.defer(channel, ref, entry.step, token, 'unsent', fault.retryAfterMs);
        return false;
      case 'unsent':
        await outbox.defer(channel, ref, entry.step, token, 'unsent', backoff(claim.tries, fault));
        return false;
      case 'unknown':
        log.warn({ ref, step: entry.step, error: fault.message }, 'the fate of a message is unknown; Slack will be asked');
        over.add(keyOf(ref, entry.step));
        await outbox.defer(channel, ref, entry.step, token, 'unknown', tuning.lookMs);
        return false;
    }
  }

  async function settle(channel: string, claim: Claim, settlement: Settlement): Promise<boolean> {
    over.delete(keyOf(claim.ref, claim.entry.step));
    return outbox.settle(channel, claim.ref, claim.entry.step, claim.entry.op, claim.token, settlement);
  }

  function backoff(tries: number, fault: SlackFault): number {
    if (fault.kind === 'rate-limited') return fault.retryAfterMs;
    return Math.min(tuning.retryMs * 2 ** Math.min(tries - 1, 10), 30_000) * (0.75 + Math.random() / 2);
  }

  function forget(ref: string, step: string): void {
    refreshes.delete(keyOf(ref, step));
    shown.delete(keyOf(ref, step));
  }

  return {
    start: () => {
      running ??= run();
    },
    stop: async () => {
      stopping.abort();
      woken.resolve();
      await running;
    },
    wake: () => woken.resolve(),
    refresh: (ref, channel, step, message) => {
      const text = JSON.stringify(message);
      const key = keyOf(ref, step);
      if (shown.get(key)?.text === text) return;
      refreshes.set(key, { ref, channel, step, message, text });
      woken.resolve();
    },
    forget,
  };
}

const History = z.object({
  messages: z.array(
    z.object({
      ts: z.string(),
      user: z.string().optional(),
      metadata: z
        .object({ event_payload: z.object({ run: z.string().optional(), step: z.string().optional() }) })
        .optional()
        .catch(undefined),
      files: z
        .array(z.object({ name: z.string().optional() }))
        .optional()
        .catch(undefined),
    }),
  ),
  response_metadata: z.object({ next_cursor: z.string().optional() }).optional(),
});

/** Slack will not take anything more for this channel or this bot. */
const GONE =
  /^(channel_not_found|not_in_channel|is_archived|channel_is_archived|invalid_auth|not_authed|account_inactive|token_revoked|token_expired|missing_scope|no_permission|org_login_required|ekm_access_denied|restricted_action.*|access_denied|thread_not_found)$/;

function failed(error: string, dead: boolean): Settlement {
  return { state: 'failed', error, dead };
}

/** The name of a picture's file: it is how the picture is found again. */
function fileNameOf(ref: string, step: string): string {
  return `netcheck-${(ref.split('#')[0] ?? '').replace('/', '-')}-${step}.png`;
}

/** The parameters that every message has: what it says, and the mark by which it is found again. Nothing in it is live. */
function content(message: SlackMessage, ref: string, step: string): Record<string, unknown> {
  return {
    text: message.text,
    ...(message.blocks.length > 0 ? { blocks: message.blocks } : {}),
    metadata: { event_type: 'netcheck_message', event_payload: { run: ref.split('#')[0] ?? '', step } },
    parse: 'none',
    link_names: false,
  };
}
