import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import type { Action } from '../../src/model/remedy.ts';
import type { RemedyReport } from '../../src/model/wire/remedy.ts';
import { carryOut, type Ledger } from '../../src/remedies/carry-out.ts';
import { REMEDIES } from '../../src/remedies/index.ts';
import type { AnyRemedy } from '../../src/remedies/remedy.ts';
import { makeAction } from '../action.ts';
import { count, proves } from './counts.ts';

/*
 * Every remedy of the map, whatever its parameters and whatever it finds: what it finds is drawn from its own schema, so
 * that a new remedy is tried without a word about it here. It may be cut off at any step, and its order comes again.
 */

/** What parameters are likely to be. */
const WORDS = ['eth0', 'cni0', 'node-2', '10.0.0.1', 'fd00::1', '1500', '1', '0', '65536', '02:00:0a:1c:de:ad'];

type Schema = {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly minItems?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | boolean;
  readonly propertyNames?: Schema;
};

/** Values of a schema. Where they can be, texts and numbers are those of the pool: then they meet what is looked for. */
function valuesOf(schema: Schema, pool: readonly string[]): fc.Arbitrary<unknown> {
  if ('const' in schema) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return fc.oneof(...choices.map((choice) => valuesOf(choice, pool)));
  if (schema.allOf?.[0] !== undefined) return valuesOf({ ...schema.allOf[0], ...schema.allOf[1] }, pool);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case 'string': {
      const pattern = schema.pattern === undefined ? null : new RegExp(schema.pattern);
      const fitting = pool.filter((text) => pattern?.test(text) ?? true);
      const any = pattern === null ? fc.string({ maxLength: 12 }) : matching(pattern);
      if (any === null) return fc.constantFrom(...(fitting.length === 0 ? [''] : fitting));
      return fitting.length === 0 ? any : fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...fitting) }, any);
    }
    case 'integer':
    case 'number': {
      const numbers = pool.map(Number).filter(Number.isInteger);
      return fc.oneof(fc.nat(3), fc.nat(200_000), fc.constantFrom(0, ...numbers));
    }
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      if (schema.prefixItems !== undefined) return fc.tuple(...schema.prefixItems.map((item) => valuesOf(item, pool)));
      return fc.array(valuesOf(schema.items ?? {}, pool), { minLength: schema.minItems ?? 0, maxLength: 4 });
    case 'object': {
      const fields = Object.entries(schema.properties ?? {});
      const known = fc.record(Object.fromEntries(fields.map(([name, field]) => [name, valuesOf(field, pool)])), {
        requiredKeys: [...(schema.required ?? [])],
      });
      if (typeof schema.additionalProperties !== 'object') return known;
      const names = valuesOf({ type: 'string', ...schema.propertyNames }, pool).map(String);
      const more = fc.dictionary(names, valuesOf(schema.additionalProperties, pool), { maxKeys: 4 });
      return fc.tuple(known, more).map(([first, rest]) => ({ ...rest, ...first }));
    }
    default:
      return fc.oneof(fc.constant(null), fc.constantFrom('', ...pool));
  }
}

/** Texts that match a pattern; null for one with assertions, of which they cannot be made. */
function matching(pattern: RegExp): fc.Arbitrary<string> | null {
  try {
    return fc.stringMatching(pattern, { size: 'small' });
  } catch {
    return null;
  }
}

/** Parameters of remedies whose own conditions nothing random meets. */
const PARAMS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'raise-neighbour-limits': { thresh1: '1024', thresh2: '2048', thresh3: '4096' },
  'restart-flannel-on-nodes': { namespace: 'kube-flannel', pods: 'kube-flannel-ds-x7k2p=1b3c,kube-flannel-ds-9qwer=77aa' },
  'delete-kube-rules': {
    system: 'legacy',
    jumps: 'nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
  },
};

function schemaOf(type: z.ZodType): Schema {
  return z.toJSONSchema(type, { io: 'input', unrepresentable: 'any' }) as Schema;
}

/** Where a remedy is cut off: at the report of that name, in its first or second reading, or in the command of that number. */
type Cut = RemedyReport['type'] | 'first reading' | 'second reading' | number;

/** The process is gone: nothing of it ever goes on. */
class Gone extends Error {}

/** One delivery of an order, cut off somewhere or not at all. Returns what ran, and what was said. */
async function deliver(action: Action, remedy: AnyRemedy, states: readonly unknown[], claims: Set<string>, cut: Cut | null) {
  const ran: string[] = [];
  const said: string[] = [];
  let readings = 0;
  const die = (at: Cut): void => {
    if (at === cut) throw new Gone();
  };
  const ledger: Ledger = {
    claim: ({ id }) => !claims.has(id) && claims.add(id).has(id),
    keep: () => undefined,
    recall: async () => null,
  };
  const host = { run: async () => '', readText: async () => null };
  const played: AnyRemedy = {
    ...remedy,
    read: async () => {
      readings += 1;
      if (cut === (readings === 1 ? 'first reading' : 'second reading')) await new Promise(() => undefined);
      return states[Math.min(readings, states.length) - 1];
    },
  };
  const carried = carryOut(action, {
    place: remedy.place,
    where: 'node-2',
    ledger,
    remedies: { [remedy.id]: played },
    host: {
      ...host,
      async run(argv) {
        ran.push(argv.join(' '));
        if (cut === ran.length - 1) await new Promise(() => undefined);
        return '';
      },
    },
    say: (report) => {
      said.push(report.type);
      die(report.type);
    },
  }).catch((error: unknown) => {
    if (!(error instanceof Gone)) throw error;
  });
  // A process that is gone never answers: whatever is left to be done is done within a few turns.
  await Promise.race([carried, new Promise((resolve) => setImmediate(() => setImmediate(resolve)))]);
  return { ran, said };
}

const CUTS: readonly Cut[] = ['claimed', 'first reading', 'acting', 0, 1, 2, 'second reading', 'done'];
const times = count(60, 1_000);
const held: Record<string, number> = {};
let raced = 0;

test.each(Object.keys(REMEDIES))(
  '%s runs only what was approved, only while its finding holds, and at most once however it is cut off',
  async (id) => {
    const remedy = REMEDIES[id];
    if (remedy === undefined) throw new Error('not there');
    const example = PARAMS[id];
    const some = example === undefined ? valuesOf(schemaOf(remedy.params), WORDS) : fc.constant(example);
    const cases = some.chain((params) => {
      const pool = Object.values(params as Record<string, string>).flatMap((text) => [text, ...text.split(/[=,\s]+/)]);
      const state = valuesOf(schemaOf(remedy.state), pool);
      return fc.record({ params: fc.constant(params), found: state, left: state, cut: fc.constantFrom(...CUTS, null) });
    });
    await fc.assert(
      fc.asyncProperty(cases, async ({ params, found, left, cut }) => {
        const [given, before, after] = [
          remedy.params.safeParse(params),
          remedy.state.safeParse(found),
          remedy.state.safeParse(left),
        ];
        fc.pre(given.success && before.success && after.success);
        const commands = remedy.commands(given.data).map((argv) => [...argv]);
        const onFailure = remedy.onFailure?.(given.data).map((argv) => [...argv]);
        const action = makeAction({
          remedy: id,
          riskClass: remedy.riskClass,
          params: params as Record<string, string>,
          commands,
          ...(onFailure === undefined ? {} : { onFailure }),
        });
        const holds = remedy.obsolete(given.data, before.data) === null;
        const [claims, states] = [new Set<string>(), [before.data, after.data]];
        const first = await deliver(action, remedy, states, claims, cut);
        const all = commands.map((argv) => argv.join(' '));
        const gets =
          typeof cut === 'number' ? cut + 1 : ['claimed', 'first reading', 'acting'].includes(String(cut)) ? 0 : all.length;
        expect(first.ran).toEqual(holds ? all.slice(0, gets) : []);
        expect(first.said.includes('refused')).toBe(!holds && cut !== 'claimed' && cut !== 'first reading');
        expect(await deliver(action, remedy, states, claims, null)).toEqual({ ran: [], said: ['refused'] });
        held[id] = (held[id] ?? 0) + (holds ? 1 : 0);
        raced += 1;
      }),
      { numRuns: times },
    );
  },
  240_000,
);

test('that was tried with findings that held and with findings that were gone', ({ task }) => {
  const remedies = Object.keys(REMEDIES).length;
  expect(raced).toBe(remedies * times);
  expect(Object.values(held).some((number) => number > 0)).toBe(true);
  proves(task, 10, `${raced} races and cuts of ${remedies} remedies, 0 wrong, 0 twice; held: ${JSON.stringify(held)}`);
});
