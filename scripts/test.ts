import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { check } from './check.ts';

/*
 * Everything that CI runs: the gate, then every test. The last line is `N passed, N failed`, and `, N skipped` where any
 * were. With CI in the environment a skipped test is a failure.
 */

const Report = z.object({
  numPassedTests: z.int(),
  numFailedTests: z.int(),
  numPendingTests: z.int(),
  numTodoTests: z.int(),
});

const gate = check();
const folder = mkdtempSync(join(tmpdir(), 'netcheck-test-'));
const file = join(folder, 'report.json');
const vitest = spawnSync(
  'vitest',
  ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`, ...process.argv.slice(2)],
  { stdio: 'inherit' },
);
// A vitest that is killed or cannot start leaves no report.
const report: z.output<typeof Report> = existsSync(file)
  ? Report.parse(JSON.parse(readFileSync(file, 'utf8')))
  : { numPassedTests: 0, numFailedTests: 1, numPendingTests: 0, numTodoTests: 0 };
rmSync(folder, { recursive: true });

const missing = process.env['NETCHECK_LAB_MISSING'];
if (missing !== undefined && missing !== '') process.stdout.write(`The lab cannot run here: ${missing}\n`);
const passed = gate.passed + report.numPassedTests;
// A run that ended badly without a failed test (an unhandled error, a file that could not be loaded) has failed as well.
const failed = gate.failed + Math.max(report.numFailedTests, vitest.status === 0 ? 0 : 1);
const skipped = report.numPendingTests + report.numTodoTests;
process.exitCode = failed === 0 && (skipped === 0 || process.env['CI'] === undefined) ? 0 : 1;
process.stdout.write(`${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}\n`);
