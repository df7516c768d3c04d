import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { temporaryFolder } from '../test/folder.ts';
import { refusal } from './new-check.ts';

/*
 * A new check, and the documents that come from code, in a copy of the project.
 */

const ROOT = join(import.meta.dirname, '..');
const COPIED = [
  '.gitignore',
  'biome.json',
  'deploy',
  'docs',
  'package.json',
  'scripts',
  'src',
  'test',
  'tsconfig.json',
  'vitest.config.ts',
];
const FOLDER = 'src/checks/linux/rp-filter-strict';

const copy = temporaryFolder();

beforeAll(() => {
  for (const name of COPIED) cpSync(join(ROOT, name), join(copy, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
});

/** Runs a command in the copy: its exit status and what it printed. */
function run(command: string, ...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: copy, encoding: 'utf8' });
  return { status, stdout, stderr };
}

function newCheck(...args: readonly string[]): ReturnType<typeof run> {
  return run('node', 'scripts/new-check.ts', ...args);
}

const NO_NAME = 'is no name for a check: it is AREA/ID in lower case, words joined by hyphens';

test.each([
  ['conntrack-nearly-full', `'conntrack-nearly-full' ${NO_NAME}`],
  ['linux/ConntrackFull', `'linux/ConntrackFull' ${NO_NAME}`],
  ['linux/../kit', `'linux/../kit' ${NO_NAME}`],
  ['kit/thing', 'src/checks/kit is what checks share, not an area: take the name of a system, as linux or flannel'],
  ['linux/ip-forward-off', 'src/checks/linux/ip-forward-off is there already: change it, or take another name'],
  [
    'mesh/ip-forward-off',
    'the id ip-forward-off is taken by src/checks/linux/ip-forward-off: ids are unique in the whole catalogue',
  ],
  [
    'linux/flannel-fdb-wrong',
    'flannel-fdb-wrong is a code of src/checks/flannel/peer-entries-wrong already: name the new fault apart from it',
  ],
  ['linux/rp-filter-strict', null],
])('the name %s: %s', (name, wrong) => {
  expect(refusal(name)).toBe(wrong);
});

test.each([
  [[], 'one name is needed'],
  [['linux/one', 'linux/two'], 'one name is needed'],
  [['one'], `'one' ${NO_NAME}`],
])('%j makes nothing and says how the command is used', (args, wrong) => {
  const { status, stdout, stderr } = newCheck(...args);
  expect({ status, stdout, said: stderr.split('\n').slice(0, 2) }).toEqual({
    status: 3,
    stdout: '',
    said: [wrong, 'Usage: npm run new-check -- AREA/ID'],
  });
});

test('a new check is in the map, compiles, keeps the format and passes its tests', () => {
  const { status, stdout, stderr } = newCheck('linux/rp-filter-strict');
  expect({ status, stderr, first: stdout.split('\n', 1)[0] }).toEqual({
    status: 0,
    stderr: '',
    first: `${FOLDER} is written and in the catalogue's map. Next:`,
  });
  expect(readFileSync(join(copy, 'src/checks/index.ts'), 'utf8')).toMatch(/^ {2}'linux\/rp-filter-strict': rpFilterStrict,$/m);
  writeFileSync(
    join(copy, 'tsconfig.new.json'),
    JSON.stringify({ extends: './tsconfig.json', include: ['src/checks/index.ts', FOLDER] }),
  );
  expect(run('tsc', '-p', 'tsconfig.new.json')).toEqual({ status: 0, stdout: '', stderr: '' });
  expect(run('biome', 'check', FOLDER, 'src/checks/index.ts')).toMatchObject({ status: 0 });
  expect(run('vitest', 'run', FOLDER)).toMatchObject({ status: 0, stdout: expect.stringMatching(/6 passed/) });
  expect(newCheck('linux/rp-filter-strict').status).toBe(3);
});

test('the documents are stale with a new check, until they are written again', () => {
  const isCurrent = (): ReturnType<typeof run> => run('node', 'scripts/generate.ts', '--check');
  expect(isCurrent()).toMatchObject({
    status: 1,
    stdout: expect.stringMatching(/^out of date: .*docs\/checks\/rp-filter-strict\.md.*\nRun npm run generate\.\n$/),
  });
  expect(run('node', 'scripts/generate.ts').status).toBe(0);
  expect(isCurrent()).toEqual({ status: 0, stdout: '', stderr: '' });
  rmSync(join(copy, 'docs/checks/rp-filter-strict.md'));
  writeFileSync(join(copy, 'docs/checks/of-old.md'), '');
  expect(isCurrent()).toEqual({
    status: 1,
    stdout: 'out of date: docs/checks/rp-filter-strict.md, docs/checks/of-old.md\nRun npm run generate.\n',
    stderr: '',
  });
});
