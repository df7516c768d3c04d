import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { createAuthorize } from '../../src/bot/authorize.ts';
import type { Directory } from '../../src/bot/directory.ts';
import {
  aboutAction,
  aboutOffer,
  approveRemedy,
  breakGlass,
  denyRemedy,
  requestRemedy,
  requestUndo,
  type Shown,
} from '../../src/bot/remedy-flow.ts';
import { type Config, FileConfig } from '../../src/config.ts';
import { execute } from '../../src/jobs/execute.ts';
import type { Producer } from '../../src/jobs/producer.ts';
import { NO_METER } from '../../src/meter.ts';
import { digestOf, type RemedyOutcome, type RemedyProposal } from '../../src/model/remedy.ts';
import { ok, type Result } from '../../src/model/result.ts';
import { ActionKind } from '../../src/model/wire/action.ts';
import { pack, unpack } from '../../src/model/wire/kind.ts';
import { DAYS } from '../../src/policy.ts';
import { type ActionStore, createActionStore } from '../../src/store/actions.ts';
import { createAuditFile, readAudit, readAuditEntries, readAuditHead, verifyAudit } from '../../src/store/audit.ts';
import { createRunStore, type RunStore } from '../../src/store/runs.ts';
import { makeApprovalKeys, PLAN } from '../action.ts';
import { makeOrder } from '../order.ts';
import { emptyBundle, readVerdict } from '../verdicts.ts';
import { createLog } from '../world.ts';
import type { Edit, End, How, Said, Switch, Who } from './flow-reference.ts';

/*
 * The same happenings as in the reference, with the product's own code from the click to the act: authorize, the flow of
 * remedies, the store in a real Redis, the worker's execute and the audit. Only Slack's directory and what the remedy
 * does are played.
 */

const CHANNEL = 'C00000001';
const ALWAYS = { days: [...DAYS], from: '00:00', to: '24:00', zone: 'UTC' };
const CLUSTER = 'lab';
const WORKER = 'w1';
const LONG = 3_600_000;

const id = (who: Who): string => `U0000${who.toUpperCase()}`;

const directory: Directory = {
  user: async (user) =>
    ok({
      id: user,
      deleted: false,
      is_bot: false,
      is_app_user: false,
      is_restricted: user === id('guest'),
      is_ultra_restricted: false,
      is_stranger: false,
      is_invited_user: false,
    }),
  channel: async (channel) =>
    ok({ id: channel, is_member: true, is_im: false, is_archived: false, is_ext_shared: false, is_pending_ext_shared: false }),
  group: async () => ok([]),
};

export const OFFERS = ['p1', 'p2'] as const;
const PROPOSALS: readonly RemedyProposal[] = OFFERS.map((offer, index) => ({
  ...PLAN,
  id: offer,
  target: { node: `node-${index + 1}`, uid: `uid-${index + 1}` },
}));

/** A remedy that is running in a worker, or in one that was thought dead. */
type Execution = { readonly end: (how: End) => void; readonly over: Promise<void> };

export type Flow = Awaited<ReturnType<typeof createFlow>>;

/** Makes a fresh installation in a Redis that is emptied first. `folder` is for its files. */
export async function createFlow(redis: Redis, folder: string) {
  await redis.flushall();
  const keys = makeApprovalKeys();
  const publicKeyFile = join(folder, 'approval.pub');
  const auditFile = join(folder, `audit-${performance.now()}.jsonl`);
  await writeFile(publicKeyFile, keys.publicKey);
  const file = FileConfig.parse({ clusters: { [CLUSTER]: {} }, remedies: { enabled: true } });
  const access = {
    ...file.access,
    approve: { users: [id('bob'), id('cara')], groups: [] },
    breakGlass: { enabled: false, people: { users: [id('bob')], groups: [] } },
  };
  const timeouts = { ...file.timeouts, approveMs: LONG, startMs: LONG, remedyMs: LONG };
  const remedies = { enabled: true, publicKeyFile, auditFile, events: false };
  const config: Config = {
    ...file,
    access,
    timeouts,
    remedies,
    slack: null,
    redis: { url: '' },
    approvalKey: keys.privateKey,
  };
  const authorize = createAuthorize(config, directory, { team: 'T1', enterprise: null, user: 'UBOT', url: '' });
  const actions: ActionStore = createActionStore(redis, CLUSTER);
  const runs: RunStore = createRunStore(redis, CLUSTER);
  const log = createLog();
  const producer: Producer = {
    diagnose: async () => {},
    remediate: async () => {},
    state: async () => [],
    close: async () => {},
  };
  const stores = { runs, actions };
  const options = { config, stores, producer, log };
  const ids: string[] = [];
  /** What the card of each of them shows. */
  const cards: Shown[] = [];
  const effects: number[] = [];
  const running: Execution[][] = [];
  const acting = new Map<string, number>();
  const run = await finishedRun(runs);

  const caller = (who: Who) => ({ user: id(who), team: 'T1', enterprise: null, channel: CHANNEL, cluster: CLUSTER });
  const key = (index: number): string => `nc:${CLUSTER}:action:${ids[index] ?? 'a0000000000'}`;
  const cardOf = (index: number): Shown => cards[index] ?? { id: idOf(index), item: null };
  const idOf = (index: number): string => ids[index] ?? 'a0000000000';

  async function requested(text: string): Promise<Said> {
    const [, made] = /^Requested \(`(a\w{10})`\)/.exec(text) ?? [];
    if (made === undefined) return text.startsWith('This remedy is requested already') ? 'open' : 'no';
    ids.push(made);
    const read = await actions.get(made);
    cards.push({ id: made, item: read.ok ? `d${read.value?.action.digest.slice(0, 16)}` : null });
    effects.push(0);
    running.push([]);
    return 'requested';
  }

  return {
    async request(who: Who, offer: string): Promise<Said> {
      const grant = await authorize('request', caller(who), await aboutOffer({ id: run, item: offer }, stores));
      return grant.ok ? await requested(await requestRemedy(grant.value, run, offer, options)) : 'not allowed';
    },

    async undo(who: Who, index: number): Promise<Said> {
      const grant = await authorize('request', caller(who), await aboutAction({ id: idOf(index) }, stores));
      return grant.ok ? await requested(await requestUndo(grant.value, idOf(index), options)) : 'not allowed';
    },

    async approve(who: Who, index: number, { withReason, isStale, isGlass }: How): Promise<Said> {
      const about = await aboutAction({ id: idOf(index) }, stores);
      const reason = withReason ? 'nobody else is awake' : null;
      timeouts.startMs = isStale ? -1 : LONG;
      const answer = isGlass
        ? await granted(authorize('break-glass', caller(who), about), (grant) =>
            breakGlass(grant, cardOf(index), reason, options),
          )
        : await granted(authorize('approve', caller(who), about), (grant) =>
            approveRemedy(grant, cardOf(index), reason, options),
          );
      if (answer === null) return 'not allowed';
      if (answer.kind === 'ask-reason') return 'reason?';
      if (answer.text.startsWith('Approved. It runs now')) return 'approved';
      return answer.text.startsWith('Approved. It runs as soon as') ? 'waits' : 'no';
    },

    async deny(who: Who, index: number, withReason: boolean): Promise<Said> {
      const about = await aboutAction({ id: idOf(index) }, stores);
      const grant = await authorize('read', caller(who), about);
      if (!grant.ok) return 'not allowed';
      let isRefused = false;
      const mayApprove = async () => {
        const approver = await authorize('approve', caller(who), about);
        isRefused = !approver.ok;
        return approver.ok ? approver.value : approver.error;
      };
      const answer = await denyRemedy(grant.value, idOf(index), withReason ? 'not today' : null, mayApprove, options);
      if (isRefused) return 'not allowed';
      if (answer.kind === 'ask-reason') return 'reason?';
      return answer.text.startsWith('Denied') ? 'denied' : answer.text.startsWith('Withdrawn') ? 'withdrawn' : 'no';
    },

    async supersede(index: number): Promise<void> {
      await actions.supersede(idOf(index), 'the fault is gone');
    },

    async wait(index: number): Promise<void> {
      await redis.hset(key(index), { approveBy: 1, startBy: 1, startedAt: 1 });
    },

    async sweep(): Promise<void> {
      for (const open of await actions.open()) {
        const read = await actions.get(open);
        if (read.ok && read.value !== null) await actions.expire(read.value, timeouts.remedyMs);
      }
    },

    async deliver(index: number): Promise<void> {
      const acts = Promise.withResolvers<void>();
      const ends = Promise.withResolvers<RemedyOutcome>();
      const over = execute(idOf(index), {
        config,
        cluster: CLUSTER,
        redis,
        worker: WORKER,
        stopMs: LONG,
        log,
        meter: NO_METER,
        acting,
        remediate: (action) => {
          const at = ids.indexOf(action.id);
          effects[at] = (effects[at] ?? 0) + 1;
          running[at]?.push({
            over,
            end: (how) => (how === 'throws' ? ends.reject(new Error('it broke')) : ends.resolve(outcomeOf(how, action.undoes))),
          });
          acts.resolve();
          return ends.promise;
        },
      });
      await Promise.race([over, acts.promise]);
    },

    async finish(index: number, how: End): Promise<void> {
      for (const execution of running[index]?.splice(0) ?? []) {
        execution.end(how);
        await execution.over;
      }
    },

    async crash(index: number): Promise<void> {
      await actions.lose(idOf(index));
    },

    async forge(index: number): Promise<void> {
      await redis.hset(key(index), { state: 'approved', startBy: Date.now() + LONG });
    },

    async edit(index: number, how: Edit): Promise<void> {
      const text = (await redis.hget(key(index), 'action')) ?? '';
      const edited = text.replace('"title":"', '"title":"Not: ');
      const read = how === 'unreadable' || text === '' ? null : unpack(ActionKind, '', edited);
      const whole = read?.ok === true ? pack(ActionKind, { ...read.value, digest: digestOf(read.value) }) : edited;
      await redis.hset(key(index), 'action', how === 'unreadable' ? `${text}}` : how === 'text' ? edited : whole);
    },

    configure(what: Switch): void {
      const { users } = access.approve;
      if (what === 'self-approval') access.selfApproval = !access.selfApproval;
      else if (what === 'two approvals') access.approvals = access.approvals === 1 ? 2 : 1;
      else if (what === 'glass') access.breakGlass.enabled = !access.breakGlass.enabled;
      else if (what === 'quiet hours') access.quiet = access.quiet.length === 0 ? [ALWAYS] : [];
      else if (what === 'audit')
        remedies.auditFile = remedies.auditFile === auditFile ? join(publicKeyFile, 'no-folder') : auditFile;
      else if (users.includes(id(what))) users.splice(users.indexOf(id(what)), 1);
      else users.push(id(what));
    },

    /** What there is to be compared with the reference. */
    async seen() {
      const audit = await readAuditEntries(redis, CLUSTER, 0);
      return Promise.all(
        ids.map(async (action, index) => ({
          state: await redis.hget(key(index), 'state'),
          effects: effects[index],
          events: audit
            .filter((entry) => entry.action === action)
            .map(({ event }) => event)
            .join(' '),
        })),
      );
    },

    /** Checks both sinks of the audit against each other. */
    async verifyAudit() {
      const audit = createAuditFile(auditFile, redis, CLUSTER);
      await audit.catchUp();
      return verifyAudit(await readAudit(redis, CLUSTER, 0), await readAuditHead(redis, CLUSTER), await audit.lines());
    },
  };
}

/** What somebody who was allowed to gets, or null. */
async function granted<G, T>(grant: Promise<Result<G, unknown>>, act: (grant: G) => Promise<T>): Promise<T | null> {
  const given = await grant;
  return given.ok ? act(given.value) : null;
}

function outcomeOf(how: Exclude<End, 'throws'>, undoes: string | undefined): RemedyOutcome {
  const common = { before: [], after: [], verified: [] };
  const undo = [['sysctl', '-w', 'net/ipv4/ip_forward=0']];
  if (undoes !== undefined && how === 'healed') return { ...common, outcome: 'undone', reason: null, undo: [] };
  if (undoes !== undefined && how === 'not-healed') return { ...common, outcome: 'not-undone', reason: 'it is not', undo: [] };
  return { ...common, outcome: how, reason: how === 'healed' ? null : 'so it is', undo: how === 'refused' ? [] : undo };
}

/** A run whose verdict offers the remedies. */
async function finishedRun(runs: RunStore): Promise<string> {
  const order = makeOrder({ channel: CHANNEL });
  const accepted = await runs.accept(order, { perUser: 9, perCluster: 9, joinMs: 1 }, LONG);
  if (accepted.kind !== 'accepted') throw new Error('not accepted');
  await runs.confirm(order, accepted.at + LONG, { op: 'root', step: 'root', message: { text: 'queued', blocks: [] } });
  const begin = await runs.begin(order.id, WORKER);
  if (begin.kind !== 'run') throw new Error('not begun');
  const verdict = readVerdict('ip-forward-off', { id: order.id });
  await runs.finish(order.id, begin.epoch, { verdict, bundle: emptyBundle(verdict.run), proposals: [...PROPOSALS] });
  return order.id;
}
