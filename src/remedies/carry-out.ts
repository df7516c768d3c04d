import type { Citation } from '../model/finding.ts';
import { own } from '../model/own.ts';
import { type Action, canonicalJson } from '../model/remedy.ts';
import { fail, ok, type Result } from '../model/result.ts';
import { messageOf } from '../model/text.ts';
import type { RemedyReport } from '../model/wire/remedy.ts';
import { REMEDIES } from './index.ts';
import type { AnyRemedy, Host } from './remedy.ts';

/** The states around an act, as the remedy's own `read` returned them. */
export type States = { readonly prior: unknown; readonly after: unknown };

/** What the place where a remedy acts remembers of the actions that it began. */
export type Ledger = {
  /** Marks an action as begun, durably; false when it was begun before. */
  readonly claim: (action: Action) => boolean;
  /** Keeps a state of an action, durably. */
  readonly keep: (action: Action, which: keyof States, state: unknown) => void;
  /** Both states around the action that this one undoes; null unless the same remedy acted here with the same parameters. */
  readonly recall: (action: Action) => Promise<States | null>;
};

export type CarryOutOptions = {
  readonly place: AnyRemedy['place'];
  /** What citations are of: the node's or the cluster's name. */
  readonly where: string;
  readonly host: Host;
  readonly ledger: Ledger;
  readonly say: (report: RemedyReport) => void;
  /** The remedies that there are. */
  readonly remedies?: Readonly<Record<string, AnyRemedy>>;
};

/** What is carried out: the commands, as this version of the remedy makes them, and when they are not to run. */
type Deed = {
  readonly commands: readonly (readonly string[])[];
  readonly onFailure: readonly (readonly string[])[];
  readonly obsolete: (state: unknown) => string | null;
  /** The state that an undo has to lead to. */
  readonly goal: { readonly state: unknown } | null;
};

/**
 * Carries out one action whose approval has been verified, at most once: checks that the commands are those of this
 * version, claims it, reads the state again, runs the commands only if the finding still holds in it, and reads the state
 * once more. Returns the exit status: 0 when all commands ran, 1 when they did not or nothing was changed.
 */
export async function carryOut(
  action: Action,
  { place, where, host, ledger, say, remedies = REMEDIES }: CarryOutOptions,
): Promise<number> {
  const remedy = own(remedies, action.remedy);
  const refuse = (reason: string, before: Citation[] = []): number => {
    say({ type: 'refused', reason, before });
    return 1;
  };
  if (remedy === undefined || remedy.place !== place) return refuse(`this agent knows no remedy ${action.remedy}`);
  if (remedy.riskClass !== action.riskClass)
    return refuse(`it was approved as ${action.riskClass} risk, which ${remedy.id} is not`);
  const params = remedy.params.safeParse(action.params);
  if (!params.success) return refuse(`the parameters are not those of ${action.remedy}`);
  const found = await deedOf(action, remedy, params.data, ledger);
  if (!found.ok) return refuse(found.error);
  const deed = found.value;
  const approved = { commands: action.commands, onFailure: action.onFailure ?? [] };
  if (JSON.stringify({ commands: deed.commands, onFailure: deed.onFailure }) !== JSON.stringify(approved))
    return refuse('the commands that were approved are not those of this version of the agent');
  if (!ledger.claim(action)) return refuse('this action has been begun on this node before');
  say({ type: 'claimed' });
  const cited = (state: unknown): Citation[] => remedy.describe(params.data, state).map((item) => ({ where, ...item }));
  // A state that cannot be made sense of is none to act in: that is a refusal, and no unknown outcome.
  const read = await attempt(async () => {
    const state: unknown = await remedy.read(params.data, host);
    return { prior: state, before: cited(state), obsolete: deed.obsolete(state) };
  });
  if (!read.ok) return refuse(`the state cannot be read: ${read.error}`);
  const { prior, before, obsolete } = read.value;
  if (obsolete !== null) return refuse(obsolete, before);
  ledger.keep(action, 'prior', prior);
  say({ type: 'acting', before });
  const ran = await attempt(async () => {
    for (const argv of deed.commands) await host.run(argv);
  });
  const error = ran.ok ? null : await mend(ran.error, deed, host);
  // What ran is done, whether or not the state can be read again: the probes say whether it helped.
  const later = await attempt((): Promise<unknown> => remedy.read(params.data, host));
  if (later.ok) ledger.keep(action, 'after', later.value);
  const told = await attempt(async () => {
    if (!later.ok) throw new Error(later.error);
    if (deed.goal !== null) return { after: cited(later.value), undo: [], restored: same(later.value, deed.goal.state) };
    // In the prior state, which `onFailure` may have brought back, an undo would be refused.
    const isAsBefore = same(later.value, prior);
    return {
      after: cited(later.value),
      undo: isAsBefore ? [] : remedy.undoCommands(params.data, prior, later.value).map((argv) => [...argv]),
      ...(remedy.isIndirect === true ? {} : { holds: remedy.obsolete(params.data, later.value) === null }),
    };
  });
  const nothing = { after: [], undo: [], ...(deed.goal === null ? {} : { restored: false }) };
  say({ type: 'done', before, error, ...(told.ok ? told.value : nothing) });
  return ran.ok ? 0 : 1;
}

/** What an action means here: the remedy itself, or the way back from what another action of it did here. */
async function deedOf(action: Action, remedy: AnyRemedy, params: unknown, ledger: Ledger): Promise<Result<Deed, string>> {
  if (action.undoes === undefined) {
    return ok({
      commands: remedy.commands(params),
      onFailure: remedy.onFailure?.(params) ?? [],
      obsolete: (state) => {
        const reason = remedy.obsolete(params, state);
        return reason === null ? null : `the finding no longer holds: ${reason}`;
      },
      goal: null,
    });
  }
  const states = await ledger.recall(action);
  if (states === null) return fail(`what action ${action.undoes} found and left is not known here: it cannot be undone`);
  const [prior, after] = [remedy.state.safeParse(states.prior), remedy.state.safeParse(states.after)];
  if (!prior.success || !after.success) return fail(`what action ${action.undoes} found and left is not a state of ${remedy.id}`);
  return ok({
    commands: remedy.undoCommands(params, prior.data, after.data),
    onFailure: [],
    obsolete: (state) => {
      if (same(state, prior.data)) return 'the prior state is there already';
      return same(state, after.data) ? null : 'the state has been changed again since: undoing would take that back, too';
    },
    goal: { state: prior.data },
  });
}

/** Runs what is meant for a failure; returns what to say of both. */
async function mend(error: string, { onFailure }: Deed, host: Host): Promise<string> {
  if (onFailure.length === 0) return error;
  const mended = await attempt(async () => {
    for (const argv of onFailure) await host.run(argv);
  });
  return mended.ok
    ? `${error}; the state from before was brought back`
    : `${error}; bringing back the state from before failed, too: ${mended.error}`;
}

function same(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

/** What some work returned, or what it failed with, in words. */
async function attempt<T>(work: () => Promise<T>): Promise<Result<T, string>> {
  try {
    return ok(await work());
  } catch (error) {
    return fail(messageOf(error));
  }
}
