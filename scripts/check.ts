import { spawnSync } from 'node:child_process';

/*
 * The gate: types, lint with the room rules, format, dead code, generated documents. Prints what failed, and one line
 * for each step.
 */

const STEPS: readonly { readonly name: string; readonly argv: readonly string[] }[] = [
  { name: 'types', argv: ['tsc', '-p', '.'] },
  { name: "types of the demo's page", argv: ['tsc', '-p', 'src/cli/demo/page/browser'] },
  { name: 'lint', argv: ['oxlint', '--type-aware', '--deny-warnings'] },
  { name: 'format', argv: ['biome', 'check', '--error-on-warnings'] },
  { name: 'dead code', argv: ['knip'] },
  { name: 'generated documents', argv: ['node', 'scripts/generate.ts', '--check'] },
];

/** Runs every step, also after one has failed; returns how many passed and failed. */
export function check(): { readonly passed: number; readonly failed: number } {
  let failed = 0;
  for (const { name, argv } of STEPS) {
    const [command = '', ...args] = argv;
    const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
    process.stdout.write(`${status === 0 ? 'ok    ' : 'FAILED'} ${name}\n`);
    if (status === 0) continue;
    failed += 1;
    process.stdout.write(error === undefined ? `${stdout}${stderr}\n` : `${error.message}\n`);
  }
  return { passed: STEPS.length - failed, failed };
}

if (import.meta.main) process.exitCode = check().failed === 0 ? 0 : 1;
