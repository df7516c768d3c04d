import { Temporal } from 'temporal-polyfill';
import type { Access, AccessRule, People, PeopleOrMembers, QuietWindow } from './access.ts';
import type { RiskClass } from './model/remedy.ts';

export const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'] as const;

/** What is asked about: `channel` is null where none is known; `remedy` null where it is not about a remedy. */
export type PolicyQuestion = {
  readonly cluster: string;
  readonly channel: string | null;
  readonly remedy: RemedyRef | null;
};

/** A remedy, as policy knows it. */
export type RemedyRef = { readonly id: string; readonly riskClass: RiskClass };

/** A setting that applies, and where in netcheck.yaml it stands, such as `access.rules.0.approve`. */
export type Decided<T> = { readonly value: T; readonly from: string };

/** What applies to something: each setting for itself. */
export type Policy = {
  readonly diagnose: Decided<PeopleOrMembers>;
  readonly request: Decided<PeopleOrMembers>;
  readonly approve: Decided<People>;
  readonly approvals: Decided<number>;
  readonly selfApproval: Decided<boolean>;
  readonly quiet: Decided<readonly QuietWindow[]>;
};

/**
 * What applies to a question. Of the rules that are about it, the first one that says something about a setting decides
 * that setting; what no rule decides is as `access` itself says.
 */
export function policyFor(access: Access, question: PolicyQuestion): Policy {
  function decide<S extends keyof Policy>(setting: S): Policy[S] {
    const index = access.rules.findIndex((rule) => rule[setting] !== undefined && isAbout(rule, question));
    const value = access.rules[index]?.[setting] ?? access[setting];
    const from = index < 0 ? `access.${setting}` : `access.rules.${index}.${setting}`;
    return { value, from } as Policy[S];
  }
  return {
    diagnose: decide('diagnose'),
    request: decide('request'),
    approve: decide('approve'),
    approvals: decide('approvals'),
    selfApproval: decide('selfApproval'),
    quiet: decide('quiet'),
  };
}

function isAbout(rule: AccessRule, { cluster, channel, remedy }: PolicyQuestion): boolean {
  return (
    isAmong(rule.clusters, cluster) &&
    isAmong(rule.channels, channel) &&
    isAmong(rule.remedies, remedy?.id ?? null) &&
    isAmong(rule.risk, remedy?.riskClass ?? null)
  );
}

function isAmong(chosen: readonly string[] | undefined, name: string | null): boolean {
  return chosen === undefined || (name !== null && chosen.includes(name));
}

/** Whether a list names nobody. */
export function isNobody(people: PeopleOrMembers): boolean {
  return people !== 'members' && people.users.length + people.groups.length === 0;
}

/** The quiet hours that are on at a time, and when the last of those that follow one another ends. Milliseconds. */
export type QuietNow = { readonly window: QuietWindow; readonly until: number };

const DAY_MS = 86_400_000;

/** Which quiet hours are on at a time, or null. */
export function quietAt(windows: readonly QuietWindow[], now: number): QuietNow | null {
  const window = windows.find((one) => endOf(one, now) > now);
  if (window === undefined) return null;
  let until = now;
  // Windows that follow one another without a gap for a week are on for ever.
  while (until < now + 8 * DAY_MS) {
    const end = Math.max(...windows.map((one) => endOf(one, until)));
    if (end <= until) break;
    until = end;
  }
  return { window, until };
}

/** When a window that is on at a time ends, on the clocks of its zone; that time itself when it is not on. Milliseconds. */
function endOf({ days, from, to, zone }: QuietWindow, at: number): number {
  const today = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone).toPlainDate();
  const instant = (day: Temporal.PlainDate, time: string): number => {
    const shown = time === '24:00' ? day.add({ days: 1 }).toPlainDateTime('00:00') : day.toPlainDateTime(time);
    return shown.toZonedDateTime(zone).epochMilliseconds;
  };
  const ends = [0, 1].map((back) => {
    const day = today.subtract({ days: back });
    if (!days.includes(DAYS[day.dayOfWeek - 1] ?? 'mon')) return at;
    const end = instant(minuteOf(to) > minuteOf(from) ? day : day.add({ days: 1 }), to);
    return instant(day, from) <= at ? end : at;
  });
  return Math.max(at, ...ends);
}

/** A time of day as minutes since midnight. */
export function minuteOf(time: string): number {
  const [hours = '', minutes = ''] = time.split(':');
  return Number(hours) * 60 + Number(minutes);
}

/** A window as somebody would say it: `mon, tue 18:00–08:00 Europe/Berlin`. */
export function quietWords({ days, from, to, zone }: QuietWindow): string {
  const on = days.length === DAYS.length ? 'every day' : days.join(', ');
  return `${on} ${from}–${to} ${zone}`;
}
