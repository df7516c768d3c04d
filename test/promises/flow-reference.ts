/*
 * What is to become of remedies that people request, approve and deny, and workers execute, in as few words as possible
 * and without anything of the product: the reference that the product is compared with.
 */

export const PEOPLE = ['ann', 'bob', 'cara', 'guest'] as const;
export type Who = (typeof PEOPLE)[number];

/** What a click led to. */
export type Said = 'requested' | 'open' | 'approved' | 'waits' | 'reason?' | 'denied' | 'withdrawn' | 'not allowed' | 'no';

/** How somebody approves: `isStale` with an approval that is over at once, `isGlass` by breaking the glass. */
export type How = { readonly withReason: boolean; readonly isStale: boolean; readonly isGlass: boolean };

/** What somebody changes in Redis: the words, the words and the digest over them, or so much that it cannot be read. */
export type Edit = 'text' | 'text and digest' | 'unreadable';

/** How a remedy that ran ended, as its own code says. */
export type End = 'healed' | 'not-healed' | 'refused' | 'outcome-unknown' | 'throws';

/** One remedy that was requested; `events` is its audit. */
type Entry = {
  readonly key: string;
  readonly by: Who;
  readonly undoes: number | null;
  state: string;
  readonly events: string[];
  /** How many have to approve, as it was when it was requested. */
  readonly needed: number;
  readonly approvals: Map<Who, { readonly isStale: boolean; readonly isGlass: boolean }>;
  /** The time of the state that it is in is over. */
  isLate: boolean;
  isEdited: boolean;
  isUnreadable: boolean;
  /** Whether a later run of the same thing waits for it, and whether the clock looks after it. */
  isListed: boolean;
  isActing: boolean;
  canUndo: boolean;
  effects: number;
};

export type Reference = {
  readonly entries: Entry[];
  readonly open: Map<string, number>;
  readonly approvers: Set<Who>;
  selfApproval: boolean;
  needed: 1 | 2;
  /** Whether `bob` may break the glass, if he may approve. */
  glass: boolean;
  isQuiet: boolean;
  canAudit: boolean;
};

/** What can be switched. */
export type Switch = 'bob' | 'cara' | 'self-approval' | 'two approvals' | 'glass' | 'quiet hours' | 'audit';

export function createReference(): Reference {
  const approvers = new Set<Who>(['bob', 'cara']);
  return {
    entries: [],
    open: new Map(),
    approvers,
    selfApproval: false,
    needed: 1,
    glass: false,
    isQuiet: false,
    canAudit: true,
  };
}

const CLOSED = ['done', 'failed', 'outcome-unknown', 'denied', 'expired', 'superseded'];

function enter(world: Reference, index: number, state: string): void {
  const entry = world.entries[index];
  if (entry === undefined) return;
  entry.state = state;
  entry.events.push(state);
  entry.isLate = state === 'approved' && [...entry.approvals.values()].some(({ isStale }) => isStale);
  if (!CLOSED.includes(state)) return;
  entry.isListed = false;
  if (world.open.get(entry.key) === index) world.open.delete(entry.key);
}

function add(world: Reference, who: Who, key: string, undoes: number | null): Said {
  if (world.approvers.size === 0 || (world.isQuiet && !world.glass)) return 'no';
  if (world.open.has(key)) return 'open';
  world.open.set(key, world.entries.length);
  world.entries.push({
    key,
    by: who,
    undoes,
    state: 'requested',
    events: ['requested'],
    needed: world.needed,
    approvals: new Map(),
    isLate: false,
    isEdited: false,
    isUnreadable: false,
    isListed: true,
    isActing: false,
    canUndo: false,
    effects: 0,
  });
  return 'requested';
}

/** Everything that can happen. Each returns what is to be seen of it at once. */
export const happen = {
  request: (world: Reference, who: Who, offer: string): Said => (who === 'guest' ? 'not allowed' : add(world, who, offer, null)),

  undo(world: Reference, who: Who, index: number): Said {
    if (who === 'guest') return 'not allowed';
    const entry = world.entries[index];
    if (entry === undefined || entry.isUnreadable || entry.state !== 'done' || !entry.canUndo) return 'no';
    return add(world, who, `${entry.key} undoes ${index}`, index);
  },

  approve(world: Reference, who: Who, index: number, how: How): Said {
    const entry = world.entries[index];
    if (who === 'guest' || !world.approvers.has(who)) return 'not allowed';
    if (how.isGlass && (!world.glass || who !== 'bob')) return 'not allowed';
    if (entry === undefined || entry.isUnreadable || entry.state !== 'requested' || entry.isEdited) return 'no';
    const isOwn = entry.by === who;
    if (isOwn && !world.selfApproval) return 'no';
    const others = [...entry.approvals.keys()].filter((other) => other !== who).length;
    const isEnough = others + 1 >= Math.max(entry.needed, world.needed);
    if (how.isGlass && isEnough && !world.isQuiet) return 'no';
    if (!how.isGlass && (entry.needed < world.needed || entry.approvals.has(who) || world.isQuiet)) return 'no';
    if ((isOwn || how.isGlass) && !how.withReason) return 'reason?';
    if (entry.isLate) return 'no';
    const isLast = how.isGlass || others + 1 >= entry.needed;
    entry.approvals.set(who, { isStale: isLast && how.isStale, isGlass: how.isGlass });
    if (isLast) enter(world, index, 'approved');
    else entry.events.push('approval');
    return isLast ? 'approved' : 'waits';
  },

  deny(world: Reference, who: Who, index: number, withReason: boolean): Said {
    const entry = world.entries[index];
    if (who === 'guest') return 'not allowed';
    if (entry === undefined || entry.isUnreadable) return 'no';
    if (entry.by !== who && !world.approvers.has(who)) return 'not allowed';
    if (entry.state !== 'requested' && entry.state !== 'approved') return 'no';
    if (entry.by !== who && !withReason) return 'reason?';
    enter(world, index, 'denied');
    return entry.by === who ? 'withdrawn' : 'denied';
  },

  /** A later check no longer finds the fault. */
  supersede(world: Reference, index: number): void {
    const entry = world.entries[index];
    if (entry?.state === 'requested' && !entry.isUnreadable) enter(world, index, 'superseded');
  },

  /** The time of the state that it is in passes. */
  wait(world: Reference, index: number): void {
    const entry = world.entries[index];
    if (entry !== undefined) entry.isLate = true;
  },

  /** Whoever looks after times closes what is over. */
  sweep(world: Reference): void {
    for (const [index, entry] of world.entries.entries()) {
      if (!entry.isListed || !entry.isLate || entry.isUnreadable) continue;
      if (entry.state === 'requested' || entry.state === 'approved') enter(world, index, 'expired');
      else if (entry.state === 'started') enter(world, index, 'outcome-unknown');
    }
  },

  /** A worker is given the job, whether or not it is the first one, and whoever put it into the queue. */
  deliver(world: Reference, index: number): void {
    const entry = world.entries[index];
    if (entry === undefined || entry.isUnreadable || entry.state !== 'approved') return;
    const given = [...entry.approvals];
    const isBroken = given.some(([, { isGlass }]) => isGlass);
    const isEnough = given.length >= (isBroken ? 1 : Math.max(entry.needed, world.needed));
    const isOwn = entry.approvals.has(entry.by) && !world.selfApproval;
    const isStale = given.some(([, approval]) => approval.isStale);
    if (given.length === 0 || !isEnough || isOwn || isStale || entry.isEdited || (isBroken && !world.glass))
      return enter(world, index, 'failed');
    if (entry.isLate) return;
    const isFirst = entry.events.every((event) => ['requested', 'approval', 'approved'].includes(event));
    enter(world, index, 'started');
    if (!world.canAudit || !isFirst) return enter(world, index, 'failed');
    entry.isActing = true;
    entry.effects += 1;
  },

  /** The remedy that runs comes to its end. */
  finish(world: Reference, index: number, end: End): void {
    const entry = world.entries[index];
    if (entry?.isActing !== true) return;
    entry.isActing = false;
    if (entry.state !== 'started' || entry.isUnreadable) return;
    if (end === 'refused') return enter(world, index, 'failed');
    if (end === 'throws' || end === 'outcome-unknown') return enter(world, index, 'outcome-unknown');
    entry.canUndo = entry.undoes === null;
    enter(world, index, 'done');
  },

  /** The worker that has it dies, or is thought dead: what it was doing may still end. */
  crash(world: Reference, index: number): void {
    const entry = world.entries[index];
    if (entry === undefined || entry.isUnreadable) return;
    if (entry.state === 'started') enter(world, index, 'outcome-unknown');
    else if (entry.state === 'approved') enter(world, index, 'failed');
  },

  /** Somebody who can write into Redis makes it look approved. */
  forge(world: Reference, index: number): void {
    const entry = world.entries[index];
    if (entry === undefined) return;
    entry.state = 'approved';
    entry.isLate = false;
  },

  /** Somebody who can write into Redis changes what is to run, or makes it nothing that can be read. */
  edit(world: Reference, index: number, how: Edit): void {
    const entry = world.entries[index];
    if (entry === undefined) return;
    if (how === 'unreadable') entry.isUnreadable = true;
    else entry.isEdited = true;
  },

  /** The configuration changes. */
  configure(world: Reference, what: Switch): void {
    if (what === 'self-approval') world.selfApproval = !world.selfApproval;
    else if (what === 'two approvals') world.needed = world.needed === 1 ? 2 : 1;
    else if (what === 'glass') world.glass = !world.glass;
    else if (what === 'quiet hours') world.isQuiet = !world.isQuiet;
    else if (what === 'audit') world.canAudit = !world.canAudit;
    else if (!world.approvers.delete(what)) world.approvers.add(what);
  },
} as const;

/** What there is to be compared. */
export function seen({
  entries,
}: Reference): readonly { readonly state: string; readonly effects: number; readonly events: string }[] {
  return entries.map(({ state, effects, events }) => ({ state, effects, events: events.join(' ') }));
}
