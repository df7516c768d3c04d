import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { z } from 'zod';

/*
 * Runs the tests that docs/promises.md names for its numbered promises, with their full counts, and says what became of
 * each promise. The last line is `N passed, N failed`. An argument between 0 and 1 runs that share of the counts.
 */

const ROOT = join(import.meta.dirname, '..');

const Report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      assertionResults: z.array(
        z.object({
          title: z.string(),
          status: z.string(),
          meta: z.object({ proofs: z.array(z.object({ promise: z.int(), tried: z.string() })).default([]) }).optional(),
        }),
      ),
    }),
  ),
});

/** A promise with the tests that the page names for it: the file of each, and its title as it stands in the source. */
type Promised = { readonly number: number; readonly title: string; readonly tests: readonly (readonly [string, RegExp])[] };

/** The numbered promises of the page. */
function promises(): readonly Promised[] {
  const page = readFileSync(join(ROOT, 'docs/promises.md'), 'utf8');
  return page.split(/^(?=### )/m).flatMap((section) => {
    const [, number, title = ''] = /^### (\d+)\. (.+)$/m.exec(section) ?? [];
    if (number === undefined) return [];
    const items = section.split(/\n(?=- |\n)/).filter((item) => item.startsWith('- `'));
    const tests = items.flatMap((item) => {
      const text = item.replaceAll(/\s+/g, ' ');
      const file = /`([^`]+\.spec\.ts)`/.exec(text)?.[1];
      const name = /(?<=: )_(.+?)_(?=\W|$)/.exec(text)?.[1];
      return file === undefined || name === undefined ? [] : [[file, patternOf(name)] as const];
    });
    return [{ number: Number(number), title, tests }];
  });
}

/** A title as it stands in the source, with its placeholders for whatever is put there. */
function patternOf(title: string): RegExp {
  const parts = title.split(/%[sijdo]|\$\{[^}]*\}/).map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's');
}

const all = promises();
const files = [...new Set(all.flatMap(({ tests }) => tests.map(([file]) => file)))];
const folder = mkdtempSync(join(tmpdir(), 'netcheck-promises-'));
const output = join(folder, 'report.json');
const vitest = spawnSync('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${output}`, ...files], {
  cwd: ROOT,
  stdio: 'inherit',
  env: { ...process.env, NETCHECK_PROMISES: process.argv[2] ?? '1' },
});
const report = existsSync(output) ? Report.parse(JSON.parse(readFileSync(output, 'utf8'))) : { testResults: [] };
rmSync(folder, { recursive: true });

const results = report.testResults.flatMap(({ name, assertionResults }) =>
  assertionResults.map((result) => ({ ...result, file: relative(ROOT, name) })),
);
let [passed, failed] = [0, 0];
process.stdout.write('\n');
for (const { number, title, tests } of all) {
  const mine = results.filter((result) => tests.some(([file, name]) => file === result.file && name.test(result.title)));
  const unseen = tests.filter(([file, name]) => !results.some((result) => result.file === file && name.test(result.title)));
  const bad = mine.filter(({ status }) => status !== 'passed');
  const isKept = mine.length > 0 && bad.length === 0 && unseen.length === 0;
  if (isKept) passed += 1;
  else failed += 1;
  const tried = results.flatMap(({ meta }) =>
    (meta?.proofs ?? []).filter(({ promise }) => promise === number).map((proof) => proof.tried),
  );
  process.stdout.write(`${isKept ? 'kept  ' : 'BROKEN'} ${number}. ${title}: ${[`${mine.length} tests`, ...tried].join('; ')}\n`);
  for (const { file, title: name, status } of bad) process.stdout.write(`         ${status}: ${file}: ${name}\n`);
  for (const [file, name] of unseen) process.stdout.write(`         not run: ${file}: ${name.source}\n`);
}
// A run that ended badly without a failed test (an unhandled error, a file that could not be loaded) has failed as well.
if (vitest.status !== 0 && failed === 0) failed = 1;
process.exitCode = failed === 0 ? 0 : 1;
process.stdout.write(`${passed} passed, ${failed} failed\n`);
