import { expect, test } from 'vitest';
import { describeSchedule, describeSlot, nextSlot, nextSlots, parseSchedule, parseTimezone, slotUntil } from './schedule.ts';

/** The words of a command, as the grammar cuts them: quotes hold a cron pattern together. */
function words(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|(\S+)/g)].map(([, inQuotes, word = '']) => inQuotes ?? word);
}

test.each([
  ['weekdays 09:00 Europe/Berlin', '0 9 * * 1-5', 'Europe/Berlin', false],
  ['daily 09:00 Europe/Berlin DARK', '0 9 * * *', 'Europe/Berlin', false, 'dark'],
  ['daily dark only changes', '0 9 * * *', null, true, 'dark'],
  ['daily 09:00 UTC only changes light', '0 9 * * *', 'UTC', true],
  ['weekdays 09:00 Europe/Berlin only changes', '0 9 * * 1-5', 'Europe/Berlin', true],
  ['daily 8:30am europe/berlin', '30 8 * * *', 'Europe/Berlin', false],
  ['daily at 12am utc', '0 0 * * *', 'UTC', false],
  ['daily 12:15 pm Asia/Kolkata', '15 12 * * *', 'Asia/Kolkata', false],
  ['weekends', '0 9 * * 0,6', null, false],
  ['MONDAYS 7:05', '5 7 * * 1', null, false],
  ['tue,fri 17:00 america/port-au-prince', '0 17 * * 2,5', 'America/Port-au-Prince', false],
  ['thursdays and mondays only changes', '0 9 * * 1,4', null, true],
  ['cron "0 9 * * 1-5" Europe/Berlin', '0 9 * * 1-5', 'Europe/Berlin', false],
  ['cron "5,50 0,23 * * *" UTC', '5,50 0,23 * * *', 'UTC', false],
  ['cron */15 8-17 * * MON-FRI America/New_York only change', '*/15 8-17 * * MON-FRI', 'America/New_York', true],
])('%s is understood', (text, cron, timezone, onlyChanges, theme = 'light') => {
  expect(parseSchedule(words(text))).toEqual({ ok: true, value: { cron, timezone, onlyChanges, theme } });
});

test.each([
  ['', 'When? Type for example: weekdays 09:00 Europe/Berlin.'],
  ['wekdays 09:00', '"wekdays" says no days. Did you mean weekdays?'],
  ['constructor', '"constructor" says no days. Days are daily, weekdays, weekends, mondays … sundays, or cron "…".'],
  ['__proto__ 09:00', '"__proto__" says no days. Days are daily, weekdays, weekends, mondays … sundays, or cron "…".'],
  ['sometimes', '"sometimes" says no days. Days are daily, weekdays, weekends, mondays … sundays, or cron "…".'],
  ['daily 25:00 UTC', '"25:00" is not a time of day: type 09:00, 17:30 or 5:30pm.'],
  ['daily 9 UTC', '"9" is not a time of day: type 09:00, 17:30 or 5:30pm.'],
  ['daily 13:00pm UTC', '"13:00pm" is not a time of day: type 09:00, 17:30 or 5:30pm.'],
  ['daily 09:00 Europe/Berln', '"Europe/Berln" is not a time zone. Did you mean Europe/Berlin, Europe/Dublin, Europe/Jersey?'],
  ['daily 09:00 berlin', '"berlin" is not a time zone. Did you mean Europe/Berlin?'],
  ['daily 09:00 CET', '"CET" is not a time zone. Time zones are named by a city, such as Europe/Berlin.'],
  ['daily 09:00 +02:00', '"+02:00" is not a time zone. Time zones are named by a city, such as Europe/Berlin.'],
  [
    'daily 09:00 UTC please',
    '"please" is too much: after the time zone "only changes" and "dark" or "light" may follow, as in weekdays 09:00 Europe/Berlin only changes dark.',
  ],
  ['daily UTC dark light', expect.stringContaining('"light" is too much')],
  ['daily UTC only changes only changes', expect.stringContaining('"only changes" is too much')],
  ['daily UTC dark only', expect.stringContaining('"only" is too much')],
  ['cron "*/5 * * * *" UTC', 'That is every 5 minutes at times, and 15 is the least: every digest probes the whole network.'],
  ['cron "0,50 * * * *" UTC', 'That is every 10 minutes at times, and 15 is the least: every digest probes the whole network.'],
  [
    'cron "0 9 * *" UTC',
    '"0 9 * *" is not a cron pattern: it has five fields (minute, hour, day of the month, month, day of the week, as in cron "0 9 * * 1-5" Europe/Berlin).',
  ],
  ['cron "H 9 * * *" UTC', expect.stringContaining('"H 9 * * *" is not a cron pattern')],
  ['cron "99 9 * * *" UTC', expect.stringContaining('"99 9 * * *" is not a cron pattern: ')],
  ['cron "0 9 30 2 *" UTC', expect.stringContaining('"0 9 30 2 *" is not a cron pattern: ')],
  ['cron "0 9 1 * 1" UTC', expect.stringContaining('restricts the day of the month and the day of the week')],
])('%s: says what to type instead', (text, error) => {
  expect(parseSchedule(words(text))).toEqual({ ok: false, error });
});

test.each([
  ['0 9 * * *', 'every day at 09:00, Europe/Berlin time'],
  ['5 17 * * 1-5', 'every weekday (Monday to Friday) at 17:05, Europe/Berlin time'],
  ['0 9 * * 0,6', 'every Saturday and Sunday at 09:00, Europe/Berlin time'],
  ['0 9 * * 1,4,5', 'every Monday, Thursday and Friday at 09:00, Europe/Berlin time'],
  ['*/15 8-17 * * *', 'every 15 minutes, between 08:00 and 17:59 (cron "*/15 8-17 * * *"), Europe/Berlin time'],
])('%s in words', (cron, text) => {
  expect(describeSchedule({ cron, timezone: 'Europe/Berlin' })).toBe(text);
});

test('a slot is told on the clocks of its time zone', () => {
  expect(describeSlot(Date.UTC(2026, 10, 23, 8), 'Europe/Berlin')).toBe('Mon, 23 Nov 2026, 09:00 CET');
});

/** [name, pattern, time zone, after, the slots]. What clocks show is told in the name of each slot's day. */
const CHANGES: readonly (readonly [string, string, string, string, readonly string[]])[] = [
  [
    'a time that does not exist is the moment at which clocks are set forward',
    '30 2 * * *',
    'Europe/Berlin',
    '2027-03-27T00:00:00Z',
    ['2027-03-27T01:30:00Z', '2027-03-28T01:00:00Z', '2027-03-29T00:30:00Z'],
  ],
  [
    'two times that do not exist are one slot',
    '0,30 2 * * *',
    'Europe/Berlin',
    '2027-03-27T12:00:00Z',
    ['2027-03-28T01:00:00Z', '2027-03-29T00:00:00Z', '2027-03-29T00:30:00Z'],
  ],
  [
    'a time that exists twice is its first occurrence',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-10-24T12:00:00Z',
    ['2026-10-25T00:30:00Z', '2026-10-26T01:30:00Z'],
  ],
  [
    'and is not due again when it is asked between the two',
    '30 2 * * *',
    'Europe/Berlin',
    '2026-10-25T00:35:00Z',
    ['2026-10-26T01:30:00Z'],
  ],
  [
    'an hour that exists twice has its slots twice where every hour has some',
    '0,30 * * * *',
    'Europe/Berlin',
    '2026-10-24T23:30:00Z',
    ['2026-10-25T00:00:00Z', '2026-10-25T00:30:00Z', '2026-10-25T01:00:00Z', '2026-10-25T01:30:00Z', '2026-10-25T02:00:00Z'],
  ],
  [
    'an hour that does not exist is left out where every hour has slots',
    '0,30 * * * *',
    'Europe/Berlin',
    '2027-03-28T00:10:00Z',
    ['2027-03-28T00:30:00Z', '2027-03-28T01:00:00Z', '2027-03-28T01:30:00Z'],
  ],
  [
    'where midnight does not exist the day still has its slot',
    '30 0 * * *',
    'America/Santiago',
    '2026-09-05T12:00:00Z',
    ['2026-09-06T04:00:00Z', '2026-09-07T03:30:00Z'],
  ],
  [
    'clocks that are set by half an hour',
    '15 2 * * *',
    'Australia/Lord_Howe',
    '2026-10-03T00:00:00Z',
    ['2026-10-03T15:30:00Z', '2026-10-04T15:15:00Z'],
  ],
  [
    'a time that exists on both sides of a change is always the same time of day',
    '0 9 * * 1-5',
    'Europe/Berlin',
    '2026-10-23T12:00:00Z',
    ['2026-10-26T08:00:00Z', '2026-10-27T08:00:00Z'],
  ],
  ['a time zone without changes', '0 9 * * *', 'Asia/Kolkata', '2026-10-25T00:00:00Z', ['2026-10-25T03:30:00Z']],
];

test.each(CHANGES)('%s', (_name, cron, timezone, after, expected) => {
  const schedule = { cron, timezone };
  const slots = nextSlots(schedule, Date.parse(after), expected.length);
  expect(slots.map((slot) => new Date(slot).toISOString().replace('.000', ''))).toEqual(expected);
  // Seen backwards the slots are the same ones.
  for (const [index, slot] of slots.entries()) {
    expect(slotUntil(schedule, slot)).toBe(slot);
    expect(slotUntil(schedule, slot - 1)).toBe(index === 0 ? slotUntil(schedule, Date.parse(after)) : slots[index - 1]);
  }
});

test.each(['Europe/Berlin', 'America/New_York', 'America/Santiago', 'Australia/Lord_Howe', 'Asia/Beirut'])(
  'through both changes of a year every day has its slot, and backwards they are the same: %s',
  (timezone) => {
    const dayOf = new Intl.DateTimeFormat('sv', { timeZone: timezone, dateStyle: 'short' });
    for (const cron of ['30 2 * * *', '5 0 * * *', '45 23 * * *']) {
      for (const from of [Date.UTC(2027, 2, 10), Date.UTC(2027, 8, 1)]) {
        const schedule = { cron, timezone };
        const slots = nextSlots(schedule, from, 70);
        expect(slots.map((slot) => slotUntil(schedule, slot + 1))).toEqual(slots);
        const days = slots.map((slot) => Date.parse(dayOf.format(slot)));
        expect([new Set(days).size, ((days.at(-1) ?? 0) - (days[0] ?? 0)) / 86_400_000]).toEqual([70, 69]);
      }
    }
  },
);

test('what is never due has no slots', () => {
  expect([
    nextSlot({ cron: '0 0 31 2,4 *', timezone: 'UTC' }, Date.UTC(2027, 0, 1)),
    slotUntil({ cron: '0 0 31 2,4 *', timezone: 'UTC' }, Date.UTC(2027, 0, 1)),
  ]).toEqual([null, null]);
});

test('every time zone that the platform knows is understood in any case', () => {
  for (const name of Intl.supportedValuesOf('timeZone').filter((zone) => zone.includes('/'))) {
    expect(parseTimezone(name.toUpperCase())).toEqual({ ok: true, value: name });
  }
});
