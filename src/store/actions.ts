import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { DigestRemedy } from '../model/digest.ts';
import {
  type Action,
  ActionState,
  type Approval,
  digestOf,
  neededOf,
  type Person,
  type RemedyOutcome,
  type RemedyPlan,
} from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { ActionKind, type ActionRecord, ApprovalsKind, type AuditEvent, OutcomeKind } from '../model/wire/action.ts';
import { pack, type RecordFault, unpack } from '../model/wire/kind.ts';
import { type AuditLine, chain, readAuditEntries } from './audit.ts';
import { clusterKeys, KEEP } from './keys.ts';
import { defineScript, readHash, redisNow, StoredInteger } from './redis.ts';

// One state machine for all: nothing changes without its line in the audit, and no line is written without its change.
const TRANSITION = `
local function closed(state)
  return state ~= 'requested' and state ~= 'approved' and state ~= 'started'
end
local function enter(prefix, id, key, state, keep, fields)
  redis.call('HSET', key, 'state', state)
  redis.call('HINCRBY', key, 'revision', 1)
  for i = 1, #fields, 2 do redis.call('HSET', key, fields[i], fields[i + 1]) end
  if state == 'started' then redis.call('HSET', key, 'startedAt', now()) end
  if closed(state) then
    redis.call('HSET', key, 'closedAt', now())
    redis.call('EXPIRE', key, keep)
    redis.call('ZREM', prefix .. ':actions', id)
    local target = prefix .. ':action-for:' .. redis.call('HGET', key, 'fingerprint')
    if redis.call('GET', target) == id then redis.call('DEL', target) end
  end
  redis.call('ZADD', prefix .. ':actions-untold', now(), id)
  redis.call('PUBLISH', prefix .. ':events', id)
end
`;

// KEYS action, openActionFor, openActions, audit, auditHead
// ARGV id, prefix, fingerprint, action, channel, approveBy, head, line, newHead, keep
const requestScript = defineScript(`${TRANSITION}
if redis.call('EXISTS', KEYS[1]) == 1 then return {'ok', ARGV[1]} end
local open = redis.call('GET', KEYS[2])
if open then return {'open', open} end
if (redis.call('GET', KEYS[5]) or '') ~= ARGV[7] then return {'head', ''} end
redis.call('RPUSH', KEYS[4], ARGV[8])
redis.call('SET', KEYS[5], ARGV[9])
redis.call('SET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], now(), ARGV[1])
redis.call('HSET', KEYS[1], 'action', ARGV[4], 'channel', ARGV[5], 'approveBy', ARGV[6], 'fingerprint', ARGV[3], 'revision', 0)
enter(ARGV[2], ARGV[1], KEYS[1], 'requested', ARGV[10], {})
return {'ok', ARGV[1]}
`);

// KEYS action, audit, auditHead. ARGV id, prefix, from, to, guard ('', 'until', 'after'), field, slackMs, head, line, newHead, keep, fields…
const moveScript = defineScript(`${TRANSITION}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if not string.find(',' .. ARGV[3] .. ',', ',' .. state .. ',', 1, true) then return {'state', state} end
if ARGV[5] ~= '' then
  local limit = tonumber(redis.call('HGET', KEYS[1], ARGV[6]) or '0') + tonumber(ARGV[7])
  if ARGV[5] == 'until' and now() > limit then return {'late', state} end
  if ARGV[5] == 'after' and now() <= limit then return {'early', state} end
end
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[8] then return {'head'} end
redis.call('RPUSH', KEYS[2], ARGV[9])
redis.call('SET', KEYS[3], ARGV[10])
local fields = {}
for i = 12, #ARGV do fields[#fields + 1] = ARGV[i] end
enter(ARGV[2], ARGV[1], KEYS[1], ARGV[4], ARGV[11], fields)
return {'ok', ARGV[4]}
`);

const toldScript = defineScript(`
if redis.call('HGET', KEYS[1], 'revision') == ARGV[2] then redis.call('ZREM', KEYS[2], ARGV[1]) end
return 1
`);

/** So many remedies are told of at once, the latest ones. */
const MOST_ENDED = 20;

/**
 * Why an action did not change its state. `state` is the one that it is in; `again`: whoever approves it has done so
 * before; `own`: they requested it.
 */
export type Standstill =
  | { readonly kind: 'again' | 'own' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'state' | 'late' | 'early'; readonly state: ActionState }
  | { readonly kind: 'unreadable'; readonly fault: RecordFault };

/** What an expiry is measured by, and what it leads to. */
type Guard = { readonly is: 'until' | 'after'; readonly field: 'approveBy' | 'startBy' | 'startedAt'; readonly plusMs?: number };

type Move = {
  readonly from: readonly ActionState[];
  readonly to: ActionState;
  readonly guard?: Guard;
  readonly set: Record<string, string | number>;
  /** What the audit calls it, unless that is the state. */
  readonly event?: AuditEvent;
  readonly actor: Person | null;
  readonly detail: Record<string, string>;
};

export type ActionStore = ReturnType<typeof createActionStore>;

/** The actions of one cluster and their audit. Every function rejects when Redis cannot be reached. */
export function createActionStore(redis: Redis, cluster: string) {
  const keys = clusterKeys(cluster);

  async function get(id: string): Promise<Result<ActionRecord | null, RecordFault>> {
    return readAction(keys.action(id), await redis.hgetall(keys.action(id)));
  }

  /** Null when something else was written into the audit since `head`. */
  async function tryMove(record: ActionRecord, step: Move, head: string): Promise<Result<ActionState, Standstill> | null> {
    const { action } = record;
    const linked = chain(head, line(action, step.event ?? step.to, await redisNow(redis), step.actor, step.detail));
    const reply = z
      .array(z.string())
      .parse(
        await moveScript(
          redis,
          [keys.action(action.id), keys.audit, keys.auditHead],
          [
            action.id,
            keys.prefix,
            step.from.join(','),
            step.to,
            step.guard?.is ?? '',
            step.guard?.field ?? '',
            step.guard?.plusMs ?? 0,
            head,
            JSON.stringify(linked.entry),
            linked.head,
            KEEP.closedAction,
            ...Object.entries(step.set).flat(),
          ],
        ),
      );
    const [kind, state = ''] = reply;
    if (kind === 'head') return null;
    if (kind === 'ok') return ok(step.to);
    if (kind === 'gone') return fail({ kind });
    return fail({ kind: z.enum(['state', 'late', 'early']).parse(kind), state: ActionState.parse(state) });
  }

  async function move(record: ActionRecord, step: Move): Promise<Result<ActionState, Standstill>> {
    for (;;) {
      const moved = await tryMove(record, step, (await redis.get(keys.auditHead)) ?? '');
      if (moved !== null) return moved;
    }
  }

  async function moveById(id: string, step: (record: ActionRecord) => Move): Promise<Result<ActionState, Standstill>> {
    const read = await get(id);
    if (!read.ok) return fail({ kind: 'unreadable', fault: read.error });
    if (read.value === null) return fail({ kind: 'gone' });
    return move(read.value, step(read.value));
  }

  return {
    get,

    /**
     * Requests what a plan proposes. When the same remedy with the same parameters is already open on that node, that
     * action's id is returned instead and nothing is stored.
     */
    request: async (
      order: {
        readonly id: string;
        readonly run: string;
        readonly channel: string;
        readonly plan: RemedyPlan;
        readonly by: Person;
        readonly approvalsNeeded: number;
        /** Goes into the audit. */
        readonly detail?: Record<string, string>;
      },
      approveMs: number,
    ): Promise<{ readonly kind: 'requested' | 'open'; readonly id: string }> => {
      const fingerprint = fingerprintOf(order.plan);
      for (;;) {
        const [head, at] = await Promise.all([redis.get(keys.auditHead), redisNow(redis)]);
        const content = {
          ...order.plan,
          schema: 'netcheck.action/v1' as const,
          id: order.id,
          run: order.run,
          cluster,
          requestedBy: order.by,
          requestedAt: at,
          approvalsNeeded: order.approvalsNeeded,
        };
        const action: Action = { ...content, approvals: [], digest: digestOf(content) };
        const linked = chain(
          head ?? '',
          line(action, 'requested', at, order.by, {
            title: action.title,
            node: action.target.node ?? 'the cluster',
            ...order.detail,
          }),
        );
        const [kind, id = ''] = z
          .array(z.string())
          .parse(
            await requestScript(
              redis,
              [keys.action(order.id), keys.openActionFor(fingerprint), keys.openActions, keys.audit, keys.auditHead],
              [
                order.id,
                keys.prefix,
                fingerprint,
                pack(ActionKind, action),
                order.channel,
                at + approveMs,
                head ?? '',
                JSON.stringify(linked.entry),
                linked.head,
                KEEP.closedAction,
              ],
            ),
          );
        if (kind === 'head') continue;
        return { kind: kind === 'open' ? 'open' : 'requested', id };
      }
    },

    /**
     * Stores an approval, while the request may still be approved, and moves it to `approved` when no more are needed. Each
     * person counts once, and whoever requested it not at all unless `selfApproval` is true. `consent` is asked for the
     * approval of the action as it stands then, `isLast` being whether it is the last one needed. `detail` goes into the audit.
     */
    approve: async (
      id: string,
      by: Person,
      consent: (action: Action, isLast: boolean) => Approval,
      options: { readonly selfApproval: boolean; readonly detail?: Record<string, string> },
    ): Promise<Result<ActionState, Standstill>> => {
      for (;;) {
        // Every change is a line in the audit: what is read after its head is still so while the head is the same.
        const head = (await redis.get(keys.auditHead)) ?? '';
        const read = await get(id);
        if (!read.ok) return fail({ kind: 'unreadable', fault: read.error });
        if (read.value === null) return fail({ kind: 'gone' });
        const record = read.value;
        const { approvals, approvalsNeeded, requestedBy } = record.action;
        if (record.state !== 'requested') return fail({ kind: 'state', state: record.state });
        if (!options.selfApproval && requestedBy.user === by.user) return fail({ kind: 'own' });
        const others = approvals.filter((earlier) => earlier.by.user !== by.user);
        const approval = consent(record.action, others.length + 1 >= approvalsNeeded);
        // Only by breaking the glass somebody can say more than they have said already.
        if (others.length < approvals.length && approval.breakGlass === undefined) return fail({ kind: 'again' });
        const given = [...others, approval];
        const isLast = given.length >= neededOf(record.action, given);
        const moved = await tryMove(
          record,
          {
            from: ['requested'],
            to: isLast ? 'approved' : 'requested',
            ...(isLast ? {} : { event: 'approval' as const }),
            guard: { is: 'until', field: 'approveBy' },
            set: { approvals: pack(ApprovalsKind, given), ...(isLast ? { startBy: approval.expiresAt } : {}) },
            actor: by,
            detail: { ...(approvalsNeeded > 1 ? { approvals: `${given.length} of ${approvalsNeeded}` } : {}), ...options.detail },
          },
          head,
        );
        if (moved !== null) return moved;
      }
    },

    /** Denies a request, or an approved action that has not started. */
    deny: (id: string, by: Person, reason: string): Promise<Result<ActionState, Standstill>> =>
      moveById(id, () => ({
        from: ['requested', 'approved'],
        to: 'denied',
        set: { closedBy: by.user, reason },
        actor: by,
        detail: { reason },
      })),

    /** Closes a request that has become pointless. */
    supersede: (id: string, reason: string): Promise<Result<ActionState, Standstill>> =>
      moveById(id, () => ({ from: ['requested'], to: 'superseded', set: { reason }, actor: null, detail: { reason } })),

    /** Claims an approved action for execution: succeeds once, and only before the approval expires. */
    start: (id: string, worker: string): Promise<Result<ActionState, Standstill>> =>
      moveById(id, () => ({
        from: ['approved'],
        to: 'started',
        guard: { is: 'until', field: 'startBy' },
        set: { worker },
        actor: null,
        detail: { worker },
      })),

    /** Stores how an action that was started ended. */
    end: (id: string, outcome: RemedyOutcome): Promise<Result<ActionState, Standstill>> =>
      moveById(id, () => ({
        from: ['started'],
        to: endOf(outcome),
        set: { outcome: pack(OutcomeKind, outcome), reason: outcome.reason ?? '' },
        actor: null,
        detail: { outcome: outcome.outcome, reason: outcome.reason ?? '' },
      })),

    /** Refuses an action before anything was done for it: an approved one, or, for whoever started it, a started one. */
    refuse: (id: string, from: 'approved' | 'started', reason: string): Promise<Result<ActionState, Standstill>> =>
      moveById(id, () => ({
        from: [from],
        to: 'failed',
        set: { reason },
        actor: null,
        detail: { reason },
      })),

    /**
     * Closes an action whose worker died: not done when that was before it began, else of unknown outcome. A worker
     * that was only thought dead can then neither begin it nor report on it.
     */
    lose: (id: string): Promise<Result<ActionState, Standstill>> =>
      moveById(id, (record) => {
        const begun = record.state === 'started';
        const reason = begun ? 'the worker that ran it died' : 'the worker that was to run it died before it began';
        return {
          from: [begun ? 'started' : 'approved'],
          to: begun ? 'outcome-unknown' : 'failed',
          set: { reason },
          actor: null,
          detail: { reason },
        };
      }),

    /**
     * Closes what nobody approved or started in time, and declares the outcome unknown of what was started and never
     * ended. Returns the new state, or null when the action may go on as it is.
     */
    expire: async (record: ActionRecord, runningMs: number): Promise<ActionState | null> => {
      const reason = expiryOf(record, runningMs);
      if (reason === null) return null;
      const moved = await move(record, reason);
      return moved.ok ? moved.value : null;
    },

    /** Ids of the actions that are not closed, oldest first. */
    open: (): Promise<string[]> => redis.zrange(keys.openActions, '0', '-1'),

    /**
     * What ran, or may have, since the audit's line of that number, oldest first, and the number of the line now last.
     * Actions whose record cannot be read are told as the audit knows them.
     */
    endedSince: async (seq: number): Promise<{ readonly seq: number; readonly remedies: DigestRemedy[] }> => {
      const entries = await readAuditEntries(redis, cluster, seq);
      const ended = entries.filter(({ event }) => event === 'done' || event === 'failed' || event === 'outcome-unknown');
      const remedies = await Promise.all(
        ended.slice(-MOST_ENDED).map(async (entry): Promise<DigestRemedy> => {
          const read = await get(entry.action);
          const record = read.ok ? read.value : null;
          return {
            title: record?.action.title ?? entry.action,
            state: ActionState.parse(entry.event),
            outcome: record?.outcome?.outcome ?? null,
            requestedBy: record?.action.requestedBy.user ?? 'unknown',
            approvedBy: record?.action.approvals.at(-1)?.by.user ?? null,
          };
        }),
      );
      return { seq: entries.at(-1)?.seq ?? seq, remedies };
    },

    /** Ids of the actions of whose latest state nothing has been put into the outbox yet. */
    untold: (): Promise<string[]> => redis.zrange(keys.untoldActions, '0', '-1'),

    /** Notes that everything up to that revision is in the outbox; with null, that there is nothing to be said. */
    told: async (id: string, revision: number | null): Promise<void> => {
      if (revision === null) await redis.zrem(keys.untoldActions, id);
      else await toldScript(redis, [keys.action(id), keys.untoldActions], [id, revision]);
    },

    /** What an execution is doing right now, for the card; only the latest matters. */
    note: async (id: string, step: string): Promise<void> => {
      await redis.set(keys.actionProgress(id), step, 'EX', KEEP.progress);
      await redis.publish(keys.events, id);
    },

    latestNote: (id: string): Promise<string | null> => redis.get(keys.actionProgress(id)),

    now: (): Promise<number> => redisNow(redis),
  } as const;
}

/** What may take longer than usual gets so much more before nobody waits for its report. Milliseconds. */
const LATE_MS = 30_000;

function expiryOf(record: ActionRecord, runningMs: number): Move | null {
  if (record.state === 'requested') {
    const reason = 'nobody approved it in time';
    return {
      from: ['requested'],
      to: 'expired',
      guard: { is: 'after', field: 'approveBy' },
      set: { reason },
      actor: null,
      detail: { reason },
    };
  }
  if (record.state === 'approved') {
    const reason = 'it was approved, but no worker started it in time';
    return {
      from: ['approved'],
      to: 'expired',
      guard: { is: 'after', field: 'startBy' },
      set: { reason },
      actor: null,
      detail: { reason },
    };
  }
  if (record.state === 'started') {
    const reason = 'the worker that ran it did not report back';
    return {
      from: ['started'],
      to: 'outcome-unknown',
      guard: {
        is: 'after',
        field: 'startedAt',
        plusMs: Math.max(runningMs, record.action.timeoutMs === undefined ? 0 : record.action.timeoutMs + LATE_MS),
      },
      set: { reason },
      actor: null,
      detail: { reason },
    };
  }
  return null;
}

function endOf(outcome: RemedyOutcome): ActionState {
  if (outcome.outcome === 'refused') return 'failed';
  return outcome.outcome === 'outcome-unknown' ? 'outcome-unknown' : 'done';
}

function line(action: Action, event: AuditEvent, at: number, actor: Person | null, detail: Record<string, string>): AuditLine {
  return { at, cluster: action.cluster, event, action: action.id, digest: action.digest, run: action.run, actor, detail };
}

function fingerprintOf(plan: RemedyPlan): string {
  const params = Object.entries(plan.params).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash('sha256')
    .update(JSON.stringify([plan.remedy, plan.target, params, plan.undoes ?? null]))
    .digest('hex')
    .slice(0, 32);
}

const Hash = z.object({
  action: z.string(),
  channel: z.string(),
  state: ActionState,
  revision: StoredInteger,
  approveBy: StoredInteger,
  startBy: StoredInteger.optional(),
  startedAt: StoredInteger.optional(),
  closedAt: StoredInteger.optional(),
  closedBy: z.string().optional(),
  reason: z.string().optional(),
  approval: z.string().optional(),
  approvals: z.string().optional(),
  outcome: z.string().optional(),
});

function readAction(key: string, hash: Record<string, string>): Result<ActionRecord | null, RecordFault> {
  const read = readHash(Hash, 'an action', key, hash);
  if (!read.ok) return read;
  if (read.value === null) return ok(null);
  const fields = read.value;
  const action = unpack(ActionKind, key, fields.action);
  if (!action.ok) return action;
  const given = fields.approvals ?? fields.approval;
  const approvals = given === undefined ? ok([]) : unpack(ApprovalsKind, key, given);
  if (!approvals.ok) return approvals;
  const outcome = fields.outcome === undefined ? ok(null) : unpack(OutcomeKind, key, fields.outcome);
  if (!outcome.ok) return outcome;
  return ok({
    action: { ...action.value, approvals: approvals.value },
    channel: fields.channel,
    state: fields.state,
    revision: fields.revision,
    approveBy: fields.approveBy,
    startBy: fields.startBy ?? null,
    startedAt: fields.startedAt ?? null,
    closedAt: fields.closedAt ?? null,
    closedBy: fields.closedBy ?? null,
    reason: fields.reason ?? null,
    outcome: outcome.value,
  });
}
