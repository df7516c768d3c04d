import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Bundle } from '../model/bundle.ts';
import type { Citation } from '../model/finding.ts';
import type { Progress } from '../model/progress.ts';
import type { RemedyProposal } from '../model/remedy.ts';
import { ok, type Result } from '../model/result.ts';
import type { Verdict } from '../model/verdict.ts';
import { pack, type RecordFault, unpack } from '../model/wire/kind.ts';
import { type OutboxEntry, OutboxEntryKind } from '../model/wire/outbox.ts';
import { ProgressKind, ProposalsKind, type Run, type RunOrder, RunOrderKind, RunStatus, VerdictKind } from '../model/wire/run.ts';
import { botKeys, clusterKeys, KEEP } from './keys.ts';
import { OUTBOX_PUSH, outboxRef } from './outbox.ts';
import { defineScript, readHash, StoredInteger } from './redis.ts';

const CITATION_BYTES = 64 * 1024;
const CITATIONS_BYTES = 1024 * 1024;
const BUNDLE_BYTES = 20 * 1024 * 1024;
const RECENT = 50;

const compress = promisify(gzip);

const FINISH = `
local function over(status)
  return status == 'finished' or status == 'failed' or status == 'cancelled' or status == 'withdrawn'
end
local function close(prefix, id, run, status, reason)
  redis.call('HSET', run, 'status', status, 'finishedAt', now())
  if reason ~= '' then redis.call('HSET', run, 'reason', reason) end
  redis.call('ZREM', prefix .. ':active', id)
  redis.call('SREM', prefix .. ':active:' .. (redis.call('HGET', run, 'user') or ''), id)
  redis.call('PUBLISH', prefix .. ':events', id)
end
`;

// KEYS run, active, activeOf(user), same. ARGV id, order, user, perUser, perCluster, joinMs, confirmMs, keep, prefix
const acceptScript = defineScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then return {'accepted', tostring(now())} end
local previous = redis.call('GET', KEYS[4])
if previous then
  local status = redis.call('HGET', ARGV[9] .. ':run:' .. previous, 'status')
  if status == 'accepting' or status == 'queued' or status == 'running' then return {'joined', previous} end
end
local mine = redis.call('SCARD', KEYS[3])
if mine >= tonumber(ARGV[4]) then return {'user', tostring(mine)} end
local all = redis.call('ZCARD', KEYS[2])
if all >= tonumber(ARGV[5]) then return {'cluster', tostring(all)} end
local at = now()
redis.call('HSET', KEYS[1], 'order', ARGV[2], 'user', ARGV[3], 'status', 'accepting', 'epoch', 0, 'acceptedAt', at,
  'confirmBy', at + tonumber(ARGV[7]))
redis.call('EXPIRE', KEYS[1], ARGV[8])
redis.call('ZADD', KEYS[2], at, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[6])
return {'accepted', tostring(at)}
`);

// KEYS run, untold, recent, outbox, order, due, wake. ARGV id, notAfter, ref, channel, keep, keepRecent, step, entry
const confirmScript = defineScript(`${OUTBOX_PUSH}
local status = redis.call('HGET', KEYS[1], 'status')
if status ~= 'accepting' then return status or 'gone' end
if now() > tonumber(ARGV[2]) then return 'late' end
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('ZADD', KEYS[2], now(), ARGV[1])
redis.call('ZADD', KEYS[3], now(), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -(tonumber(ARGV[6]) + 1))
push(KEYS[4], KEYS[5], KEYS[6], KEYS[7], ARGV[3], ARGV[4], ARGV[5], {ARGV[7], ARGV[8], ''})
return 'queued'
`);

// KEYS run. ARGV id, prefix
const withdrawScript = defineScript(`${FINISH}
if redis.call('HGET', KEYS[1], 'status') ~= 'accepting' then return 0 end
close(ARGV[2], ARGV[1], KEYS[1], 'withdrawn', 'not accepted in time')
return 1
`);

// KEYS run. ARGV id, worker, prefix
const beginScript = defineScript(`${FINISH}
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return {'gone'} end
if over(status) then return {'over'} end
if status == 'accepting' then
  if now() <= tonumber(redis.call('HGET', KEYS[1], 'confirmBy')) then return {'wait'} end
  close(ARGV[3], ARGV[1], KEYS[1], 'withdrawn', 'not accepted in time')
  return {'over'}
end
local epoch = redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'status', 'running', 'worker', ARGV[2], 'startedAt', now())
redis.call('PUBLISH', ARGV[3] .. ':events', ARGV[1])
return {'run', tostring(epoch), redis.call('HGET', KEYS[1], 'order'), redis.call('HGET', KEYS[1], 'cancelledBy') or ''}
`);

// KEYS run, progress. ARGV id, epoch, progress ('' to only ask), keep, prefix
const progressScript = defineScript(`
if redis.call('HGET', KEYS[1], 'status') ~= 'running' or redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return {'stale'} end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
  redis.call('PUBLISH', ARGV[5] .. ':events', ARGV[1])
end
return {'ok', redis.call('HGET', KEYS[1], 'cancelledBy') or ''}
`);

// KEYS run, verdict, proposals, bundle, progress. ARGV id, epoch, prefix, keep, keepBundle, verdict, proposals, bundle
const finishScript = defineScript(`${FINISH}
if redis.call('HGET', KEYS[1], 'status') ~= 'running' or redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[2] then return 'stale' end
redis.call('SET', KEYS[2], ARGV[6], 'EX', ARGV[4])
redis.call('SET', KEYS[3], ARGV[7], 'EX', ARGV[4])
if ARGV[8] ~= '' then redis.call('SET', KEYS[4], ARGV[8], 'EX', ARGV[5]) end
redis.call('DEL', KEYS[5])
redis.call('EXPIRE', KEYS[1], ARGV[4])
close(ARGV[3], ARGV[1], KEYS[1], 'finished', '')
return 'ok'
`);

// KEYS run. ARGV id, prefix, status, reason, epoch ('' for any)
const endScript = defineScript(`${FINISH}
local status = redis.call('HGET', KEYS[1], 'status')
if not status or over(status) then return 'over' end
if ARGV[5] ~= '' and redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[5] then return 'stale' end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
close(ARGV[2], ARGV[1], KEYS[1], ARGV[3], ARGV[4])
return 'ok'
`);

// KEYS active, untold. ARGV prefix, queuedMs, runningMs, staleMs
const sweepScript = defineScript(`${FINISH}
local at = now()
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local run = ARGV[1] .. ':run:' .. id
  local fields = redis.call('HMGET', run, 'status', 'acceptedAt', 'startedAt', 'confirmBy')
  local status, reason = fields[1], ''
  if not status then
    redis.call('ZREM', KEYS[1], id)
  elseif status == 'accepting' and at > tonumber(fields[4]) then
    close(ARGV[1], id, run, 'withdrawn', 'not accepted in time')
  elseif status == 'queued' and at > tonumber(fields[2]) + tonumber(ARGV[2]) then
    reason = 'no worker took it up within ' .. math.floor(tonumber(ARGV[2]) / 1000) .. ' s'
  elseif status == 'running' and at > tonumber(fields[3]) + tonumber(ARGV[3]) then
    reason = 'its worker was lost and no other one took over within ' .. math.floor(tonumber(ARGV[3]) / 1000) .. ' s'
  end
  if reason ~= '' then
    redis.call('HINCRBY', run, 'epoch', 1)
    close(ARGV[1], id, run, 'failed', reason)
  end
end
local untold, waiting = {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local fields = redis.call('HMGET', ARGV[1] .. ':run:' .. id, 'status', 'acceptedAt')
  if fields[1] ~= 'queued' then
    untold[#untold + 1] = id
  elseif at > tonumber(fields[2]) + tonumber(ARGV[4]) then
    waiting[#waiting + 1] = id
  end
end
return {untold, waiting}
`);

// KEYS run. ARGV id, prefix, user
const cancelScript = defineScript(`${FINISH}
local status = redis.call('HGET', KEYS[1], 'status')
if not status then return 'gone' end
if over(status) then return 'over:' .. status end
redis.call('HSETNX', KEYS[1], 'cancelledBy', ARGV[3])
if status == 'running' then
  redis.call('PUBLISH', ARGV[2] .. ':cancels', ARGV[1])
  redis.call('PUBLISH', ARGV[2] .. ':events', ARGV[1])
  return 'asked'
end
close(ARGV[2], ARGV[1], KEYS[1], 'cancelled', '')
return 'cancelled'
`);

/** How many runs may be unfinished at once, and how long an identical command joins the one before. */
export type RunLimits = { readonly perUser: number; readonly perCluster: number; readonly joinMs: number };

/** What became of an order. `limit` is the number that was reached. */
export type Acceptance =
  | { readonly kind: 'accepted'; readonly at: number }
  | { readonly kind: 'joined'; readonly run: string }
  | { readonly kind: 'limit'; readonly of: 'user' | 'cluster'; readonly limit: number };

/** What a worker is told about a run that a job names. */
export type Begin =
  | { readonly kind: 'run'; readonly epoch: number; readonly order: RunOrder; readonly cancelled: boolean }
  | { readonly kind: 'wait' | 'over' | 'gone' }
  | { readonly kind: 'unreadable'; readonly fault: RecordFault };

/** What a look through all runs found. */
export type Sweep = { readonly untold: readonly string[]; readonly waiting: readonly string[] };

/** What became of a cancellation. */
export type Cancellation =
  | { readonly kind: 'cancelled' | 'asked' | 'gone' }
  | { readonly kind: 'over'; readonly status: RunStatus };

export type RunStore = ReturnType<typeof createRunStore>;

/** The runs of one cluster. Every function rejects when Redis cannot be reached, and may be repeated. */
export function createRunStore(redis: Redis, cluster: string) {
  const keys = clusterKeys(cluster);
  return {
    /** Stores an order, unless it joins an identical one of the same person or a limit is reached. */
    accept: async (order: RunOrder, limits: RunLimits, confirmMs: number): Promise<Acceptance> => {
      const [kind, value = ''] = z
        .array(z.string())
        .parse(
          await acceptScript(
            redis,
            [keys.run(order.id), keys.active, keys.activeOf(order.requestedBy.user), keys.same(fingerprintOf(order))],
            [
              order.id,
              pack(RunOrderKind, order),
              order.requestedBy.user,
              limits.perUser,
              limits.perCluster,
              limits.joinMs,
              confirmMs,
              KEEP.run,
              keys.prefix,
            ],
          ),
        );
      if (kind === 'joined') return { kind, run: value };
      if (kind === 'user' || kind === 'cluster') return { kind: 'limit', of: kind, limit: Number(value) };
      return { kind: 'accepted', at: Number(value) };
    },

    /**
     * Completes an acceptance once the job is stored: the run becomes `queued` and its root message is put into the
     * outbox, both at once, unless Redis's clock is past `notAfter`. Returns whether the run is accepted.
     */
    confirm: async (order: RunOrder, notAfter: number, root: OutboxEntry): Promise<boolean> => {
      const ref = outboxRef(cluster, order.id);
      const status = await confirmScript(
        redis,
        [
          keys.run(order.id),
          keys.untold,
          keys.recent,
          botKeys.outbox(ref),
          botKeys.outboxOrder(ref),
          botKeys.outboxDue,
          botKeys.outboxWake,
        ],
        [order.id, Math.floor(notAfter), ref, order.channel, KEEP.run, RECENT, root.step, pack(OutboxEntryKind, root)],
      );
      return status !== 'late' && status !== 'withdrawn' && status !== 'gone';
    },

    /** Takes an order back that was not confirmed. Returns whether it did. */
    withdraw: async (id: string): Promise<boolean> => (await withdrawScript(redis, [keys.run(id)], [id, keys.prefix])) === 1,

    /** Begins an attempt. From now on only writes with the returned epoch count. */
    begin: async (id: string, worker: string): Promise<Begin> => {
      const reply = z.array(z.string()).parse(await beginScript(redis, [keys.run(id)], [id, worker, keys.prefix]));
      const [kind, epoch = '', order = '', cancelledBy = ''] = reply;
      if (kind === 'wait' || kind === 'over' || kind === 'gone') return { kind };
      const read = unpack(RunOrderKind, keys.run(id), order);
      if (!read.ok) return { kind: 'unreadable', fault: read.error };
      return { kind: 'run', epoch: Number(epoch), order: read.value, cancelled: cancelledBy !== '' };
    },

    /** Stores how far an attempt is, or with null only asks. `stale` when another attempt has taken over. */
    progress: async (id: string, epoch: number, progress: Progress | null): Promise<'ok' | 'cancelled' | 'stale'> => {
      const text = progress === null ? '' : pack(ProgressKind, progress);
      const [state, cancelledBy = ''] = z
        .array(z.string())
        .parse(await progressScript(redis, [keys.run(id), keys.progress(id)], [id, epoch, text, KEEP.progress, keys.prefix]));
      if (state === 'stale') return 'stale';
      return cancelledBy === '' ? 'ok' : 'cancelled';
    },

    /**
     * Stores a verdict with its offers and its bundle, all or nothing. Citations are cut to 64 KiB each and 1 MiB in
     * all; a bundle of more than 20 MiB is not kept. False when another attempt has taken over.
     */
    finish: async (
      id: string,
      epoch: number,
      result: { readonly verdict: Verdict; readonly bundle: Bundle; readonly proposals: readonly RemedyProposal[] },
    ): Promise<boolean> => {
      const bundle = await compress(JSON.stringify(result.bundle));
      const reply = await finishScript(
        redis,
        [keys.run(id), keys.verdict(id), keys.proposals(id), keys.bundle(id), keys.progress(id)],
        [
          id,
          epoch,
          keys.prefix,
          KEEP.run,
          KEEP.bundle,
          pack(VerdictKind, capCitations(result.verdict)),
          pack(ProposalsKind, [...result.proposals]),
          bundle.byteLength <= BUNDLE_BYTES ? bundle : '',
        ],
      );
      return reply === 'ok';
    },

    /** Ends a run without a verdict. With an epoch, only when that attempt is still the current one. */
    end: async (id: string, status: 'failed' | 'cancelled', reason: string, epoch?: number): Promise<boolean> =>
      (await endScript(redis, [keys.run(id)], [id, keys.prefix, status, reason, epoch ?? ''])) === 'ok',

    /**
     * Looks through all runs, on Redis's clock: withdraws what nobody confirmed, fails what has waited or run for too
     * long. Returns what is to be told (`untold`: runs that run or are over) and what has waited for longer than
     * `staleMs` (`waiting`), oldest first.
     */
    sweep: async (limits: {
      readonly queuedMs: number;
      readonly runningMs: number;
      readonly staleMs: number;
    }): Promise<Sweep> => {
      const [untold, waiting] = z
        .tuple([z.array(z.string()), z.array(z.string())])
        .parse(
          await sweepScript(redis, [keys.active, keys.untold], [keys.prefix, limits.queuedMs, limits.runningMs, limits.staleMs]),
        );
      return { untold, waiting };
    },

    /** Cancels a run: at once while it waits; a running one is asked to stop; one that is over stays as it is. */
    cancel: async (id: string, user: string): Promise<Cancellation> => {
      const reply = z.string().parse(await cancelScript(redis, [keys.run(id)], [id, keys.prefix, user]));
      if (reply === 'cancelled' || reply === 'asked' || reply === 'gone') return { kind: reply };
      return { kind: 'over', status: RunStatus.parse(reply.replace('over:', '')) };
    },

    /** One run, or null when there is none of that id (any more). */
    get: async (id: string): Promise<Result<Run | null, RecordFault>> => readRun(keys.run(id), await redis.hgetall(keys.run(id))),

    verdict: async (id: string): Promise<Result<Verdict | null, RecordFault>> => {
      const text = await redis.get(keys.verdict(id));
      return text === null ? ok(null) : unpack(VerdictKind, keys.verdict(id), text);
    },

    proposals: async (id: string): Promise<Result<RemedyProposal[], RecordFault>> => {
      const text = await redis.get(keys.proposals(id));
      return text === null ? ok([]) : unpack(ProposalsKind, keys.proposals(id), text);
    },

    /** The gzipped JSON of a run's bundle, or null when it is not kept (any more). */
    bundle: (id: string): Promise<Buffer | null> => redis.getBuffer(keys.bundle(id)),

    latestProgress: async (id: string): Promise<Result<Progress | null, RecordFault>> => {
      const text = await redis.get(keys.progress(id));
      return text === null ? ok(null) : unpack(ProgressKind, keys.progress(id), text);
    },

    /** Ids of the runs that are not over, oldest first. */
    active: (): Promise<string[]> => redis.zrange(keys.active, '0', '-1'),

    /** Ids of the latest runs, newest first. */
    recent: (count: number): Promise<string[]> => redis.zrevrange(keys.recent, 0, count - 1),

    /** Notes that everything about a run's end is in the outbox. */
    told: async (id: string): Promise<void> => {
      await redis.zrem(keys.untold, id);
    },
  } as const;
}

const Hash = z.object({
  order: z.string(),
  status: RunStatus,
  epoch: StoredInteger,
  acceptedAt: StoredInteger,
  worker: z.string().optional(),
  startedAt: StoredInteger.optional(),
  finishedAt: StoredInteger.optional(),
  reason: z.string().optional(),
  cancelledBy: z.string().optional(),
  deliveryFault: z.string().optional(),
});

function readRun(key: string, hash: Record<string, string>): Result<Run | null, RecordFault> {
  const read = readHash(Hash, 'a run', key, hash);
  if (!read.ok) return read;
  if (read.value === null) return ok(null);
  const fields = read.value;
  const order = unpack(RunOrderKind, key, fields.order);
  if (!order.ok) return order;
  return ok({
    order: order.value,
    status: fields.status,
    epoch: fields.epoch,
    worker: fields.worker ?? null,
    acceptedAt: fields.acceptedAt,
    startedAt: fields.startedAt ?? null,
    finishedAt: fields.finishedAt ?? null,
    reason: fields.reason ?? null,
    cancelledBy: fields.cancelledBy ?? null,
    deliveryFault: fields.deliveryFault ?? null,
  });
}

function fingerprintOf(order: RunOrder): string {
  const { user, team } = order.requestedBy;
  return createHash('sha256')
    .update(JSON.stringify([team, user, order.channel, order.request, order.digest?.id]))
    .digest('hex')
    .slice(0, 32);
}

/** The verdict with its citations cut to what is kept of them: 64 KiB each, 1 MiB in all, counted in UTF-8 bytes. */
export function capCitations(verdict: Verdict): Verdict {
  let left = CITATIONS_BYTES;
  const cap = (citations: readonly Citation[]): Citation[] =>
    citations.map((citation) => {
      const kept = cutBytes(citation.text, Math.min(CITATION_BYTES, left));
      left -= Buffer.byteLength(kept);
      return { ...citation, text: kept };
    });
  return {
    ...verdict,
    causes: verdict.causes.map((cause) => ({ ...cause, evidence: cap(cause.evidence) })),
    located: verdict.located.map((located) => ({ ...located, evidence: cap(located.evidence) })),
    risks: verdict.risks.map((risk) => ({ ...risk, evidence: cap(risk.evidence) })),
  };
}

function cutBytes(text: string, limit: number): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= limit) return text;
  const note = `… (cut: ${bytes} bytes in all)`;
  const room = limit - Buffer.byteLength(note);
  if (room <= 0) return '';
  return Buffer.from(text).subarray(0, room).toString('utf8').replace(/�+$/, '') + note;
}
