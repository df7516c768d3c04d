import { type CronExpression, CronExpressionParser } from 'cron-parser';
import cronstrue from 'cronstrue';
import { Temporal } from 'temporal-polyfill';
import { z } from 'zod';
import { nearNames } from './near-names.ts';
import { own } from './own.ts';
import { fail, ok, type Result } from './result.ts';
import { shorten } from './text.ts';

/** When something is due: a cron pattern whose fields are read on the clocks of a time zone (an IANA name). */
export const Schedule = z.strictObject({ cron: z.string(), timezone: z.string() });
export type Schedule = z.infer<typeof Schedule>;

/** What somebody typed as a schedule, and what may follow it. `timezone` is null where they left it out. */
export type ScheduleDraft = {
  readonly cron: string;
  readonly timezone: string | null;
  readonly onlyChanges: boolean;
  readonly theme: 'light' | 'dark';
};

/** Slots may not be closer together than this, in minutes. */
export const SHORTEST_MINUTES = 15;

/** As many slots as a day can have at that distance: a pattern whose first hundred keep to it keeps to it always. */
const LOOKED_AT = 100;

/** Clocks are set back by at most this much where they still are (by 30 minutes to 2 hours). */
const FOLD_MS = 3 * 3_600_000;

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
const DAY_SETS: Readonly<Record<string, string>> = { daily: '*', weekdays: '1-5', weekends: '0,6' };
const EXAMPLE = 'weekdays 09:00 Europe/Berlin';
const DEFAULT_TIME = '09:00';

/**
 * Understands `weekdays 09:00 Europe/Berlin only changes`, `daily 8:30am dark`, `mondays and thursdays`, `cron
 * "0 9 * * 1-5" Europe/Berlin`, already cut into words; a failure is a sentence that says what to type instead. Days and
 * time may be in any case; a time that is left out is 09:00.
 */
export function parseSchedule(words: readonly string[]): Result<ScheduleDraft, string> {
  const rest = [...words];
  const pattern = rest[0]?.toLowerCase() === 'cron' ? takeCron(rest) : takeDaysAndTime(rest);
  if (!pattern.ok) return pattern;
  let timezone: string | null = null;
  if (rest[0] !== undefined && !isOption(rest[0])) {
    const zone = parseTimezone(rest.shift() ?? '');
    if (!zone.ok) return zone;
    timezone = zone.value;
  }
  let onlyChanges = false;
  let theme: ScheduleDraft['theme'] | null = null;
  for (let [next, after] = rest; next !== undefined; [next, after] = rest) {
    if (!onlyChanges && /^only$/i.test(next) && /^changes?$/i.test(after ?? '')) onlyChanges = true;
    else if (theme === null && /^(?:light|dark)$/i.test(next)) theme = /^dark$/i.test(next) ? 'dark' : 'light';
    else
      return fail(
        `"${quoted(rest.join(' '))}" is too much: after the time zone "only changes" and "dark" or "light" may follow, as in ${EXAMPLE} only changes dark.`,
      );
    rest.splice(0, /^only$/i.test(next) ? 2 : 1);
  }
  const often = tooOften(pattern.value);
  return often === null ? ok({ cron: pattern.value, timezone, onlyChanges, theme: theme ?? 'light' }) : fail(often);
}

/** The name of a time zone as it is written, or a sentence with the names that come close. */
export function parseTimezone(text: string): Result<string, string> {
  const names = Intl.supportedValuesOf('timeZone');
  const written = names.find((name) => name.toLowerCase() === text.toLowerCase()) ?? capitalised(text);
  if (/^utc$/i.test(text)) return ok('UTC');
  // Names without a place (CET, EST, +02:00) stand for an offset that is wrong for half of the year.
  if (written.includes('/') && isTimezone(written)) return ok(written);
  const cities = new Map(names.map((name) => [name.slice(name.lastIndexOf('/') + 1).toLowerCase(), name]));
  const near = [
    ...new Set([...nearNames(text, cities.keys()).flatMap((city) => cities.get(city) ?? []), ...nearNames(text, names)]),
  ].slice(0, 3);
  const hint = near.length > 0 ? ` Did you mean ${near.join(', ')}?` : ' Time zones are named by a city, such as Europe/Berlin.';
  return fail(`"${quoted(text)}" is not a time zone.${hint}`);
}

/** A schedule in words: `every weekday (Monday to Friday) at 09:00, Europe/Berlin time`. */
export function describeSchedule({ cron, timezone }: Schedule): string {
  return `${patternInWords(cron)}, ${timezone} time`;
}

/** A slot on the clocks of the schedule's time zone: `Mon, 23 Nov 2026, 09:00 GMT+1`. `slot` is milliseconds. */
export function describeSlot(slot: number, timezone: string): string {
  return new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  }).format(slot);
}

/**
 * The first slot after a time, or null when there is none. Times are milliseconds since the epoch. A time of day that
 * does not exist on the day on which clocks are set forward stands for the moment at which they are; one that exists
 * twice for its first occurrence, unless the pattern is for every hour: then each hour that passes has its slots.
 */
export function nextSlot(schedule: Schedule, after: number): number | null {
  const margin = changeNear(after, schedule.timezone);
  const walls = wallClock(schedule.cron, wallOf(after, schedule.timezone) - margin);
  const repeats = isEveryHour(walls);
  let best: number | null = null;
  let last = Infinity;
  for (let wall = step(walls, 'next'); wall !== null && wall <= last; wall = step(walls, 'next')) {
    for (const slot of instants(wall, schedule.timezone, repeats)) {
      if (slot <= after || (best !== null && slot >= best)) continue;
      if (best === null) last = repeats ? wall + margin : wall;
      best = slot;
    }
  }
  return best;
}

/** The last slot at a time or before it, or null when there is none. */
export function slotUntil(schedule: Schedule, until: number): number | null {
  const margin = changeNear(until, schedule.timezone);
  const walls = wallClock(schedule.cron, wallOf(until, schedule.timezone) + margin + 1_000);
  const repeats = isEveryHour(walls);
  let best: number | null = null;
  let first = -Infinity;
  for (let wall = step(walls, 'prev'); wall !== null && wall >= first; wall = step(walls, 'prev')) {
    for (const slot of instants(wall, schedule.timezone, repeats)) {
      if (slot > until || (best !== null && slot <= best)) continue;
      if (best === null) first = repeats ? wall - margin : wall;
      best = slot;
    }
  }
  return best;
}

/** The slots after a time, at most so many. */
export function nextSlots(schedule: Schedule, after: number, count: number): number[] {
  const slots: number[] = [];
  for (let slot = nextSlot(schedule, after); slot !== null && slots.length < count; slot = nextSlot(schedule, slot))
    slots.push(slot);
  return slots;
}

function takeDaysAndTime(rest: string[]): Result<string, string> {
  const [first] = rest;
  if (first === undefined) return fail(`When? Type for example: ${EXAMPLE}.`);
  const days = new Set<string>();
  while (rest[0] !== undefined) {
    const parts = rest[0]
      .toLowerCase()
      .split(',')
      .filter((part) => part !== '');
    const read = parts.map((part) => own(DAY_SETS, part) ?? dayNumber(part));
    if (read.some((day) => day === null)) break;
    rest.shift();
    for (const day of read) days.add(day ?? '');
    if (/^and$/i.test(rest[0] ?? '')) rest.shift();
  }
  if (days.size === 0) {
    const near = nearNames(first, [...Object.keys(DAY_SETS), ...DAYS.map((day) => `${day}s`), 'cron']);
    const hint =
      near.length > 0
        ? ` Did you mean ${near.join(', ')}?`
        : ' Days are daily, weekdays, weekends, mondays … sundays, or cron "…".';
    return fail(`"${quoted(first)}" says no days.${hint}`);
  }
  if (/^at$/i.test(rest[0] ?? '')) rest.shift();
  const time = takeTime(rest);
  if (!time.ok) return time;
  const list = days.has('*') ? '*' : [...days].sort().join(',');
  return ok(`${time.value.minute} ${time.value.hour} * * ${list}`);
}

function takeTime(rest: string[]): Result<{ readonly hour: number; readonly minute: number }, string> {
  const isTime = /^\d/.test(rest[0] ?? '');
  const text = isTime ? (rest.shift() ?? '') : DEFAULT_TIME;
  // "9:00 am", with a space.
  const half = isTime && /^[ap]m$/i.test(rest[0] ?? '') ? (rest.shift() ?? '') : '';
  const match = /^(\d{1,2})(?::(\d{2}))?(am|pm)?$/i.exec(text + half);
  const noon = match?.[3]?.toLowerCase();
  const hours = Number(match?.[1]);
  const minute = Number(match?.[2] ?? 0);
  const isHour = noon === undefined ? hours <= 23 && match?.[2] !== undefined : hours >= 1 && hours <= 12;
  if (match === null || !isHour || minute > 59)
    return fail(`"${quoted(text + half)}" is not a time of day: type 09:00, 17:30 or 5:30pm.`);
  if (noon === undefined) return ok({ hour: hours, minute });
  return ok({ hour: (hours % 12) + (noon === 'pm' ? 12 : 0), minute });
}

/** `cron` and its five fields, in one word (quoted) or in five. */
function takeCron(rest: string[]): Result<string, string> {
  rest.shift();
  const [first = ''] = rest;
  const fields = first.includes(' ') ? rest.splice(0, 1).join(' ') : rest.splice(0, 5).join(' ');
  const parts = fields.trim().split(/\s+/);
  const form = 'minute, hour, day of the month, month, day of the week, as in cron "0 9 * * 1-5" Europe/Berlin';
  if (parts.length !== 5 || parts.some((part) => !/^[\d*/,\-?#LA-GI-Za-gi-z]+$/.test(part)))
    return fail(`"${quoted(fields)}" is not a cron pattern: it has five fields (${form}).`);
  const [, , day = '', , weekday = ''] = parts;
  if (![day, weekday].some((field) => field === '*' || field === '?'))
    return fail(
      `"${quoted(fields)}" restricts the day of the month and the day of the week, which crons read differently: leave one of them "*".`,
    );
  try {
    CronExpressionParser.parse(parts.join(' '), { tz: 'UTC' });
  } catch (error) {
    const why = error instanceof Error ? shorten(error.message, 120) : '';
    return fail(`"${quoted(fields)}" is not a cron pattern: ${why}. It has five fields (${form}).`);
  }
  return ok(parts.join(' '));
}

/** Looks at the pattern on a clock that is never set: a change of the clocks does not make a schedule too frequent. */
function tooOften(cron: string): string | null {
  const walls = wallClock(cron, Date.UTC(2027, 0, 1));
  const slots = Array.from({ length: LOOKED_AT }, () => step(walls, 'next') ?? Infinity);
  if (slots[0] === Infinity) return `"${quoted(cron)}" is never due.`;
  const shortest = Math.min(
    ...slots
      .slice(1)
      .map((slot, index) => slot - (slots[index] ?? 0))
      .filter((gap) => gap > 0),
  );
  const minutes = Math.round(shortest / 60_000);
  return minutes < SHORTEST_MINUTES
    ? `That is every ${minutes} ${minutes === 1 ? 'minute' : 'minutes'} at times, and ${SHORTEST_MINUTES} is the least: every digest probes the whole network.`
    : null;
}

function dayNumber(word: string): string | null {
  const number = DAYS.findIndex((day) => word === day || word === `${day}s` || word === day.slice(0, 3));
  return number < 0 ? null : String(number);
}

function isOption(word: string): boolean {
  return /^(?:only|light|dark)$/i.test(word);
}

function quoted(text: string): string {
  return shorten(text, 60);
}

/** `europe/berlin` as `Europe/Berlin`. */
function capitalised(text: string): string {
  return text.toLowerCase().replace(/(^|[/_-])[a-z]/g, (letter) => letter.toUpperCase());
}

function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}

function patternInWords(cron: string): string {
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = cron.split(' ');
  const isPlain = /^\d+$/.test(minute) && /^\d+$/.test(hour) && day === '*' && month === '*' && cron.split(' ').length === 5;
  const days = isPlain ? daysInWords(weekday) : null;
  if (days !== null) return `${days} at ${hour.padStart(2, '0')}:${minute.padStart(2, '0')}`;
  const words = cronstrue.toString(cron, { use24HourTimeFormat: true });
  return `${words.charAt(0).toLowerCase()}${words.slice(1)} (cron "${cron}")`;
}

function daysInWords(weekday: string): string | null {
  if (weekday === '*') return 'every day';
  if (weekday === '1-5') return 'every weekday (Monday to Friday)';
  if (weekday === '0,6') return 'every Saturday and Sunday';
  if (!/^[0-6](,[0-6])*$/.test(weekday)) return null;
  const names = weekday.split(',').map((number) => {
    const name = DAYS[Number(number)] ?? '';
    return name.charAt(0).toUpperCase() + name.slice(1);
  });
  return `every ${names.length === 1 ? names[0] : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`}`;
}

/** The times on a clock that is never set, in UTC: what they mean in a time zone is `instants`' matter. */
function wallClock(cron: string, from: number): CronExpression {
  return CronExpressionParser.parse(cron, { tz: 'UTC', currentDate: new Date(from) });
}

/** Whether the pattern is due in every hour of the day. */
function isEveryHour(walls: CronExpression): boolean {
  return walls.fields.hour.values.length === 24;
}

function step(walls: CronExpression, way: 'next' | 'prev'): number | null {
  try {
    return walls[way]().getTime();
  } catch {
    // The library gives up on a pattern that is never due, such as 30 February.
    return null;
  }
}

/** How far around an instant times of day may be in another order than the instants: not at all, unless clocks are set. */
function changeNear(instant: number, timezone: string): number {
  const [before, after] = [instant - FOLD_MS, instant + FOLD_MS];
  return wallOf(before, timezone) - before === wallOf(after, timezone) - after ? 0 : FOLD_MS;
}

/** What the clocks of a time zone show at an instant, as if it were UTC. */
function wallOf(instant: number, timezone: string): number {
  return instant + Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(timezone).offsetNanoseconds / 1_000_000;
}

/** When the clocks of a time zone show a time: mostly once. */
function instants(wall: number, timezone: string, repeats: boolean): number[] {
  const local = Temporal.Instant.fromEpochMilliseconds(wall).toZonedDateTimeISO('UTC').toPlainDateTime();
  const earlier = local.toZonedDateTime(timezone, { disambiguation: 'earlier' });
  const later = local.toZonedDateTime(timezone, { disambiguation: 'later' });
  if (earlier.epochMilliseconds === later.epochMilliseconds) return [earlier.epochMilliseconds];
  if (earlier.toPlainDateTime().equals(local))
    return repeats ? [earlier.epochMilliseconds, later.epochMilliseconds] : [earlier.epochMilliseconds];
  const change = later.add({ nanoseconds: 1 }).getTimeZoneTransition('previous');
  return [(change ?? later).epochMilliseconds];
}
