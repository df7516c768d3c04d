import { expect, test } from 'vitest';
import { z } from 'zod';
import { makeAction } from '../../test/action.ts';
import type { Action } from '../model/remedy.ts';
import type { RemedyReport } from '../model/wire/remedy.ts';
import { carryOut, type Ledger, type States } from './carry-out.ts';
import { type AnyRemedy, defineRemedy } from './remedy.ts';

/*
 * The engine with a remedy that sets one value of a place that is a map. What it runs is noted; `lock` fails, and what is
 * meant for a failure frees it again.
 */

const set = defineRemedy({
  id: 'set',
  place: 'node',
  title: 'Set a value',
  risk: 'None.',
  riskClass: 'medium',
  undo: 'The value from before is set again.',
  params: z.strictObject({ key: z.string().regex(/^[a-z]+$/), to: z.string() }),
  state: z.strictObject({ value: z.string().nullable() }),
  commands: ({ key, to }) => [
    ['set', key, to],
    ['check', key],
  ],
  onFailure: ({ key }) => [['free', key]],
  read: async ({ key }, host) => ({ value: await host.readText(key) }),
  obsolete: ({ to }, { value }) => (value === to ? `it is ${to} already` : null),
  describe: ({ key }, { value }) => [{ source: `get ${key}`, text: value ?? 'nothing' }],
  undoCommands: ({ key }, prior, after) => (after.value === null ? [] : [['set', key, prior.value ?? '']]),
});

type Place = { values: Record<string, string>; fails: readonly string[]; ran: string[]; isBlind: boolean };

function makePlace(change: Partial<Place> = {}): Place {
  return { values: { mode: 'off' }, fails: [], ran: [], isBlind: false, ...change };
}

const ACTION = makeAction({
  remedy: 'set',
  params: { key: 'mode', to: 'on' },
  commands: [
    ['set', 'mode', 'on'],
    ['check', 'mode'],
  ],
  onFailure: [['free', 'mode']],
});

/** Carries an action out in a place, and returns the exit status with what was said and what was kept. */
async function carry(
  action: Action,
  place: Place,
  {
    states = null,
    remedies = { set },
    begun = false,
  }: Partial<{
    states: States | null;
    remedies: Readonly<Record<string, AnyRemedy>>;
    begun: boolean;
  }> = {},
) {
  const said: RemedyReport[] = [];
  const kept: [string, unknown][] = [];
  const ledger: Ledger = {
    claim: () => !begun,
    keep: (_action, which, state) => void kept.push([which, state]),
    recall: async () => states,
  };
  const status = await carryOut(action, {
    place: 'node',
    where: 'node-2',
    ledger,
    say: (report) => void said.push(report),
    remedies,
    host: {
      async run(argv) {
        const [command = '', key = '', to] = argv;
        place.ran.push(argv.join(' '));
        if (place.fails.includes(command)) throw new Error(`${command} failed`);
        if (command === 'set' && to === '') delete place.values[key];
        else if (command === 'set') place.values[key] = to ?? '';
        return '';
      },
      async readText(key) {
        if (place.isBlind && place.ran.length > 0) throw new Error('nothing is to be seen');
        return place.values[key] ?? null;
      },
    },
  });
  return { status, said, kept, ran: place.ran };
}

const before = [{ where: 'node-2', source: 'get mode', text: 'off' }];
const after = [{ where: 'node-2', source: 'get mode', text: 'on' }];
const BEGUN = [{ type: 'claimed' }, { type: 'acting', before }];
const refusal = (reason: string, seen: object[] = []) => ({ type: 'refused', reason, before: seen });
/** Nothing ran, and nothing was kept. */
const UNTOUCHED = { status: 1, ran: [], kept: [] };

test('what is done is kept around the act, and told with the way back', async () => {
  expect(await carry(ACTION, makePlace())).toEqual({
    status: 0,
    said: [...BEGUN, { type: 'done', before, after, error: null, undo: [['set', 'mode', 'off']], holds: false }],
    kept: [
      ['prior', { value: 'off' }],
      ['after', { value: 'on' }],
    ],
    ran: ['set mode on', 'check mode'],
  });
});

test.each([
  ['a remedy that does not exist', { ...ACTION, remedy: 'reset' }, 'this agent knows no remedy reset'],
  ['a property that every object has', { ...ACTION, remedy: 'constructor' }, 'this agent knows no remedy constructor'],
  ['other parameters', { ...ACTION, params: { key: '-x', to: 'on' } }, 'the parameters are not those of set'],
  [
    'other commands',
    { ...ACTION, commands: [['set', 'mode', 'on']] },
    'the commands that were approved are not those of this version of the agent',
  ],
  [
    'other commands for a failure',
    { ...ACTION, onFailure: [['reboot']] },
    'the commands that were approved are not those of this version of the agent',
  ],
])('refused before it is claimed: %s', async (_, action, reason) => {
  expect(await carry(action, makePlace())).toEqual({ ...UNTOUCHED, said: [refusal(reason)] });
});

test('a remedy that acts elsewhere is not known here', async () => {
  expect(await carry(ACTION, makePlace(), { remedies: { set: { ...set, place: 'api' } } })).toEqual({
    ...UNTOUCHED,
    said: [refusal('this agent knows no remedy set')],
  });
});

test('what was begun before is not begun again', async () => {
  expect(await carry(ACTION, makePlace(), { begun: true })).toEqual({
    ...UNTOUCHED,
    said: [refusal('this action has been begun on this node before')],
  });
});

test('a finding that no longer holds is refused with what is there', async () => {
  expect(await carry(ACTION, makePlace({ values: { mode: 'on' } }))).toEqual({
    ...UNTOUCHED,
    said: [{ type: 'claimed' }, refusal('the finding no longer holds: it is on already', after)],
  });
});

test.each([
  ['the first, there is nothing to undo', 'set', before, ['set mode on', 'free mode'], true, []],
  ['a later one', 'check', after, ['set mode on', 'check mode', 'free mode'], false, [['set', 'mode', 'off']]],
])('when a command fails, what is meant for that runs, and nothing else: %s', async (_, fails, seen, ran, holds, undo) => {
  const carried = await carry(ACTION, makePlace({ fails: [fails] }));
  expect([carried.status, carried.said.at(-1), carried.ran]).toEqual([
    1,
    { type: 'done', before, after: seen, error: `${fails} failed; the state from before was brought back`, undo, holds },
    ran,
  ]);
});

test('when that fails, too, both are told', async () => {
  const { said, ran } = await carry(ACTION, makePlace({ fails: ['check', 'free'] }));
  expect([said.at(-1), ran]).toEqual([
    {
      type: 'done',
      before,
      after,
      error: 'check failed; bringing back the state from before failed, too: free failed',
      undo: [['set', 'mode', 'off']],
      holds: false,
    },
    ['set mode on', 'check mode', 'free mode'],
  ]);
});

test('a remedy that means nothing for a failure only tells it', async () => {
  const { onFailure: _none, ...plain } = set;
  const { onFailure: _nothing, ...action } = ACTION;
  const { said, ran } = await carry(action, makePlace({ fails: ['check'] }), { remedies: { set: plain } });
  expect([said.at(-1), ran]).toEqual([
    { type: 'done', before, after, error: 'check failed', undo: [['set', 'mode', 'off']], holds: false },
    ['set mode on', 'check mode'],
  ]);
});

test('a state that is not what the finding is about does not say whether it holds', async () => {
  const { said } = await carry(ACTION, makePlace(), { remedies: { set: { ...set, isIndirect: true } } });
  expect(said.at(-1)).toEqual({ type: 'done', before, after, error: null, undo: [['set', 'mode', 'off']] });
});

test('where the state cannot be read afterwards nothing is offered as the way back', async () => {
  const { status, said, kept } = await carry(ACTION, makePlace({ isBlind: true }));
  expect([status, said.at(-1), kept]).toEqual([
    0,
    { type: 'done', before, after: [], error: null, undo: [] },
    [['prior', { value: 'off' }]],
  ]);
});

test('a state that the remedy cannot make sense of is refused before the act, and no reason to lose the report after it', async () => {
  const sense = (state: unknown): never => {
    throw new Error(`${JSON.stringify(state)} makes no sense`);
  };
  expect(await carry(ACTION, makePlace(), { remedies: { set: { ...set, obsolete: (_params, state) => sense(state) } } })).toEqual(
    {
      ...UNTOUCHED,
      said: [{ type: 'claimed' }, refusal('the state cannot be read: {"value":"off"} makes no sense')],
    },
  );
  const after: AnyRemedy = { ...set, undoCommands: (_params: unknown, _prior: unknown, state: unknown) => sense(state) };
  const { status, said, kept } = await carry(ACTION, makePlace(), { remedies: { set: after } });
  expect([status, said.at(-1), kept.length]).toEqual([0, { type: 'done', before, after: [], error: null, undo: [] }, 2]);
});

const UNDO: Action = makeAction({
  remedy: 'set',
  params: { key: 'mode', to: 'on' },
  commands: [['set', 'mode', 'off']],
  undoes: 'a0000000001',
});
const STATES: States = { prior: { value: 'off' }, after: { value: 'on' } };
const done = (): Place => makePlace({ values: { mode: 'on' } });

test('an undo brings the state from before back, and says that it is exactly that one', async () => {
  const place = done();
  expect(await carry(UNDO, place, { states: STATES })).toEqual({
    status: 0,
    said: [
      { type: 'claimed' },
      { type: 'acting', before: after },
      { type: 'done', before: after, after: before, error: null, undo: [], restored: true },
    ],
    kept: [
      ['prior', { value: 'on' }],
      ['after', { value: 'off' }],
    ],
    ran: ['set mode off'],
  });
  expect(place.values).toEqual({ mode: 'off' });
});

test.each([
  [
    'of an action that is not known here',
    UNDO,
    null,
    'what action a0000000001 found and left is not known here: it cannot be undone',
  ],
  [
    'from states that are none of this remedy',
    UNDO,
    { prior: { value: 1 }, after: { value: 'on' } },
    'what action a0000000001 found and left is not a state of set',
  ],
  [
    'with commands that lead elsewhere',
    { ...UNDO, commands: [['set', 'mode', 'broken']] },
    STATES,
    'the commands that were approved are not those of this version of the agent',
  ],
  [
    'with commands for a failure, of which an undo has none',
    { ...UNDO, onFailure: [['reboot']] },
    STATES,
    'the commands that were approved are not those of this version of the agent',
  ],
])('an undo %s is refused before it is claimed', async (_, action, states, reason) => {
  expect(await carry(action, done(), { states })).toEqual({ ...UNTOUCHED, said: [refusal(reason)] });
});

test.each([
  ['is there already', { mode: 'off' }, 'the prior state is there already', before],
  [
    'has been changed since',
    { mode: 'other' },
    'the state has been changed again since: undoing would take that back, too',
    [{ where: 'node-2', source: 'get mode', text: 'other' }],
  ],
  [
    'is gone',
    {},
    'the state has been changed again since: undoing would take that back, too',
    [{ where: 'node-2', source: 'get mode', text: 'nothing' }],
  ],
])('an undo changes nothing where the state %s', async (_, values, reason, seen) => {
  expect(await carry(UNDO, makePlace({ values }), { states: STATES })).toEqual({
    ...UNTOUCHED,
    said: [{ type: 'claimed' }, refusal(reason, seen)],
  });
});

test('an undo that ran and did not lead to the state from before says so', async () => {
  const place = done();
  const stuck = { ...set, read: async () => ({ value: place.ran.length === 0 ? 'on' : 'half' }) };
  const { status, said } = await carry(UNDO, place, { states: STATES, remedies: { set: stuck } });
  expect([status, said.at(-1)]).toEqual([
    0,
    {
      type: 'done',
      before: after,
      after: [{ where: 'node-2', source: 'get mode', text: 'half' }],
      error: null,
      undo: [],
      restored: false,
    },
  ]);
});

test('an undo after which the state cannot be read is not called restored', async () => {
  const { said } = await carry(UNDO, { ...done(), isBlind: true }, { states: STATES });
  expect(said.at(-1)).toEqual({ type: 'done', before: after, after: [], error: null, undo: [], restored: false });
});

test('an undo that fails is told with its error', async () => {
  const { status, said } = await carry(UNDO, { ...done(), fails: ['set'] }, { states: STATES });
  expect([status, said.at(-1)]).toEqual([
    1,
    { type: 'done', before: after, after, error: 'set failed', undo: [], restored: false },
  ]);
});
