import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CHECKS, PROBES } from '../src/checks/index.ts';

/*
 * Writes the folder of a new check and adds it to the catalogue's map:
 *
 *   npm run new-check -- AREA/ID
 */

const ROOT = join(import.meta.dirname, '..');
const CATALOGUE = join(ROOT, 'src/checks');
const MAP = join(CATALOGUE, 'index.ts');

const USAGE = `Usage: npm run new-check -- AREA/ID
AREA is the system that the fault is in (linux, flannel, mesh, …), ID names the fault; both in kebab case.
Example: npm run new-check -- linux/conntrack-nearly-full
`;

/** What is wrong with the name of a new check, in a sentence with what to do, or null. */
export function refusal(name: string): string | null {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*\/[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name))
    return `'${name}' is no name for a check: it is AREA/ID in lower case, words joined by hyphens`;
  const [area = '', id = ''] = name.split('/');
  if (area === 'kit') return 'src/checks/kit is what checks share, not an area: take the name of a system, as linux or flannel';
  if (existsSync(join(CATALOGUE, name))) return `src/checks/${name} is there already: change it, or take another name`;
  const taken = [...Object.entries(CHECKS), ...Object.entries(PROBES)].find(([, entry]) => entry.id === id);
  if (taken !== undefined) return `the id ${id} is taken by src/checks/${taken[0]}: ids are unique in the whole catalogue`;
  const owner = Object.entries(CHECKS).find(([, check]) => id in check.codes);
  return owner === undefined ? null : `${id} is a code of src/checks/${owner[0]} already: name the new fault apart from it`;
}

/** Writes the check's files and registers it; `name` is AREA/ID, free and well formed. */
function scaffold(name: string): void {
  const [, id = ''] = name.split('/');
  const variable = id.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const folder = join(CATALOGUE, name);
  mkdirSync(join(folder, 'fixtures'), { recursive: true });
  writeFileSync(join(folder, 'fixtures/readme.md'), 'TODO: `scripts/capture-fixtures.ts` writes this file with the cases.\n');
  writeFileSync(join(folder, 'index.ts'), code(id, variable));
  writeFileSync(join(folder, 'index.spec.ts'), spec(id, variable));
  writeFileSync(join(folder, 'readme.md'), README);
  const map = readFileSync(MAP, 'utf8');
  const end = map.indexOf('\n};', map.indexOf('export const CHECKS'));
  const entry = `\n  '${name}': ${variable},`;
  writeFileSync(MAP, `import { ${variable} } from './${name}/index.ts';\n${map.slice(0, end)}${entry}${map.slice(end)}`);
  const { status, stdout, stderr } = spawnSync(
    'biome',
    ['check', '--write', MAP, join(folder, 'index.ts'), join(folder, 'index.spec.ts')],
    {
      cwd: ROOT,
      encoding: 'utf8',
    },
  );
  if (status !== 0) throw new Error(`biome: ${stdout}${stderr}`);
}

function code(id: string, variable: string): string {
  return `import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import { nodePlace } from '../../../model/hop.ts';
import { defineCheck, parseComplete } from '../../kit/check.ts';

const FILE = '/proc/sys/net/ipv4/TODO';

/** TODO: what is read, exactly as it is printed; whatever else is printed is unreadable. */
const Value = z.string().regex(/^\\d+\\n$/).transform(Number);

/** TODO: row of the fault catalogue. Source: TODO. */
export const ${variable} = defineCheck({
  id: '${id}',
  row: 'TODO',
  layer: 'L3',
  scope: 'node',
  title: 'TODO: the fault in a few words',
  why: 'TODO: what breaks for users, and how.',
  codes: { '${id}': 'TODO: what this code says, in a sentence.' },
  params: z.strictObject({ limit: z.number().default(0) }),
  collect: { value: { in: 'node', files: [FILE] } },
  parse: ({ value }) => parseComplete(value, (stdout) => ({ value: Value.parse(stdout) })),
  evaluate: ({ value }, { node }, { limit }) =>
    value <= limit
      ? []
      : [
          {
            code: '${id}',
            entity: nodeEntity(node),
            at: [{ place: nodePlace(node), point: 'forwarding' }],
            harms: [{}],
            summary: \`TODO is \${value} on \${node}, more than \${limit}\`,
            evidence: [{ where: node, source: FILE, text: String(value) }],
          },
        ],
});
`;
}

function spec(id: string, variable: string): string {
  return `import { expect, test } from 'vitest';
import { evidence } from '../../../../test/filter-evidence.ts';
import { evaluate } from '../../../diagnosis/evaluate.ts';
import type { Evidence } from '../../../model/evidence.ts';
import { ${variable} } from './index.ts';

const ARGV = ['cat', '/proc/sys/net/ipv4/TODO'];

/** What the check makes of one node that says this; once there are fixtures, of these (test/fixtures.ts). */
function judged(item: Evidence) {
  return evaluate([${variable}], [{ node: 'node-1', items: { [\`node: \${ARGV.join(' ')}\`]: item } }], undefined as never, []);
}

test('at the limit nothing is wrong', () => {
  expect(judged(evidence(ARGV, '0\\n'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('above the limit', () => {
  expect(judged(evidence(ARGV, '1\\n'))).toEqual({
    findings: [
      {
        check: '${id}',
        code: '${id}',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        entity: { kind: 'Node', name: 'node-1' },
        at: [{ place: 'node/node-1', point: 'forwarding' }],
        harms: [{}],
        summary: 'TODO is 1 on node-1, more than 0',
        evidence: [{ where: 'node-1', source: ARGV[1], text: '1' }],
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test.for([
  evidence(ARGV, 'garbage'),
  evidence(ARGV, ''),
  evidence(ARGV, '1', { truncated: true, exitCode: null }),
  evidence(ARGV, '', { fault: 'denied', exitCode: null }),
])('what cannot be read is unknown: %j', (item) => {
  expect(judged(item)).toEqual({
    findings: [],
    acquitted: [],
    gaps: [{ what: '${id}', where: 'node-1', reason: expect.stringMatching(/^cat /) }],
  });
});
`;
}

const README = `## Why it happens

TODO

## How it looks to users

TODO

## False positives

TODO

## Source

TODO
`;

function nextSteps(name: string): string {
  const [, id = ''] = name.split('/');
  return `src/checks/${name} is written and in the catalogue's map. Next:

1. index.ts: what is read, when it is good enough (parse), what is wrong (evaluate). No TODO may stay.
2. test/lab/faults: a fault that brings it about, the proof that it is there, and what the verdict must say.
3. scripts/capture-fixtures.ts: its cases (healthy, one for each code), then
   scripts/setup node scripts/capture-fixtures.ts ${id}
4. index.spec.ts: the whole findings of every case, both sides of every threshold, what is acquitted.
5. readme.md, then npm run generate.
6. npm run check, and npm run vitest -- run src/checks: the catalogue's own suite says what is missing.
`;
}

/** Makes the check that the arguments name, and returns the exit status: 0, or 3 where it cannot be. */
function main(args: readonly string[]): number {
  const [name] = args;
  const wrong = name === undefined || args.length > 1 ? 'one name is needed' : refusal(name);
  if (name === undefined || wrong !== null) {
    process.stderr.write(`${wrong}\n${USAGE}`);
    return 3;
  }
  scaffold(name);
  process.stdout.write(nextSteps(name));
  return 0;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
