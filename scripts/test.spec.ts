import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../test/folder.ts';

/*
 * How `npm test` counts, with tools that do nothing in the place of the real ones.
 */

const folder = temporaryFolder();
const ALL_WELL = { numPassedTests: 5, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0 };
const REPORTS = `for a; do case $a in --outputFile.json=*) file="\${a#*=}";; esac; done; printf %s "$REPORT" >"$file"`;

/** Runs the script where every tool is a shell script: those named here, and `exit 0` for the others. */
function run(tools: Readonly<Record<string, string>>, environment: Readonly<Record<string, string>> = {}) {
  const bin = mkdtempSync(join(folder, 'bin-'));
  for (const name of ['tsc', 'oxlint', 'biome', 'knip', 'node', 'vitest']) {
    writeFileSync(join(bin, name), `#!/bin/sh\n${tools[name] ?? 'exit 0'}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const { status, stdout } = spawnSync(process.execPath, [join(import.meta.dirname, 'test.ts')], {
    encoding: 'utf8',
    env: { PATH: `${bin}:/usr/bin:/bin`, ...environment },
  });
  const lines = stdout.trimEnd().split('\n');
  return { status, last: lines.at(-1), said: lines.slice(0, -1).filter((line) => !line.startsWith('ok ')) };
}

function reporting(report: object, more = ''): { readonly tools: Record<string, string>; readonly env: Record<string, string> } {
  return { tools: { vitest: `${REPORTS}; ${more}` }, env: { REPORT: JSON.stringify(report) } };
}

test('everything passed: the steps of the gate count as well', () => {
  const { tools, env } = reporting(ALL_WELL);
  expect(run(tools, env)).toEqual({ status: 0, last: '11 passed, 0 failed', said: [] });
});

test('a step of the gate that fails is a failure', () => {
  const { tools, env } = reporting(ALL_WELL);
  expect(run({ ...tools, knip: 'echo dead; exit 1' }, env)).toEqual({
    status: 1,
    last: '10 passed, 1 failed',
    said: ['FAILED dead code', 'dead', ''],
  });
});

test('a test that fails is a failure', () => {
  const { tools, env } = reporting({ ...ALL_WELL, numFailedTests: 2 }, 'exit 1');
  expect(run(tools, env)).toEqual({ status: 1, last: '11 passed, 2 failed', said: [] });
});

test('a run that ends badly without a failed test is a failure', () => {
  const { tools, env } = reporting(ALL_WELL, 'exit 1');
  expect(run(tools, env)).toEqual({ status: 1, last: '11 passed, 1 failed', said: [] });
});

test('a run that leaves no report is a failure', () => {
  expect(run({ vitest: 'kill -9 $$' })).toEqual({ status: 1, last: '6 passed, 1 failed', said: [] });
});

test('a skipped test is told, with the reason why there is no lab, and is a failure in CI', () => {
  const { tools, env } = reporting({ ...ALL_WELL, numPendingTests: 2, numTodoTests: 1 });
  const told = { last: '11 passed, 0 failed, 3 skipped', said: ['The lab cannot run here: no namespaces'] };
  expect(run(tools, { ...env, NETCHECK_LAB_MISSING: 'no namespaces' })).toEqual({ status: 0, ...told });
  expect(run(tools, { ...env, NETCHECK_LAB_MISSING: 'no namespaces', CI: '1' })).toEqual({ status: 1, ...told });
});
