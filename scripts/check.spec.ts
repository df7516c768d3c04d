import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { z } from 'zod';
import { temporaryFolder } from '../test/folder.ts';

/*
 * The gate itself, on a project of three files with netcheck's own settings: what is bad fails, and what is good passes.
 */

const ROOT = join(import.meta.dirname, '..');
const PAGE = 'src/cli/demo/page/browser';
const SETTINGS = ['.gitignore', '.oxlintrc.json', 'biome.json', 'knip.json', 'tsconfig.json', `${PAGE}/tsconfig.json`];

const folder = temporaryFolder();
let project: string;

beforeEach(() => {
  project = mkdtempSync(join(folder, 'project-'));
  for (const name of SETTINGS) write(name, readFileSync(join(ROOT, name), 'utf8'));
  symlinkSync(join(ROOT, 'node_modules'), join(project, 'node_modules'));
  write('package.json', '{\n  "name": "small",\n  "type": "module"\n}\n');
  write('src/cli/main.ts', "import { greeting } from './greeting.ts';\n\nprocess.stdout.write(greeting());\n");
  write('src/cli/greeting.ts', "export function greeting(): string {\n  return 'hello';\n}\n");
  write(`${PAGE}/app.tsx`, "document.title = 'small';\n");
  write('scripts/generate.ts', "process.exitCode = process.argv[2] === '--check' ? 0 : 1;\n");
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(project, path)), { recursive: true });
  writeFileSync(join(project, path), text);
}

/** The gate's exit status, and what it says of each step, in order, with everything that was printed. */
function gate(): { status: number | null; steps: readonly string[]; said: string } {
  const { status, stdout } = spawnSync('node', [join(ROOT, 'scripts/check.ts')], { cwd: project, encoding: 'utf8' });
  return { status, steps: stdout.match(/^(?:ok {4}|FAILED) .*$/gm) ?? [], said: stdout };
}

const STEPS = ['types', "types of the demo's page", 'lint', 'format', 'dead code', 'generated documents'];

test('what is good passes every step', () => {
  expect(gate()).toMatchObject({
    status: 0,
    steps: STEPS.map((step) => `ok     ${step}`),
  });
});

test('what is bad fails its step, and the steps after it run all the same', () => {
  write(
    'src/cli/greeting.ts',
    "export function greeting(): string {\n  return 'hello' ;\n}\n\nexport const dead: number = 'text';\n",
  );
  write(`${PAGE}/app.tsx`, 'document.title = 1;\n');
  write('src/model/main.ts', "export * from '../bot/bot.ts';\n");
  write('scripts/generate.ts', "process.stdout.write('out of date: docs');\nprocess.exitCode = 1;\n");
  const { status, steps, said } = gate();
  expect({ status, steps }).toEqual({
    status: 1,
    steps: STEPS.map((step) => `FAILED ${step}`),
  });
  expect(said).toContain("Type 'string' is not assignable to type 'number'.");
  expect(said).toContain("Type 'number' is not assignable to type 'string'.");
  expect(said).toContain('src/model imports nothing of ours but the model.');
  expect(said).toContain('src/cli/greeting.ts format');
  expect(said).toMatch(/Unused exports \(1\)\ndead /);
  expect(said).toContain('out of date: docs');
});

const OURS = ['model', 'checks', 'dataplane', 'diagnosis', 'remedies', 'agent', 'store', 'jobs', 'bot', 'formatters', 'cli'];

/** What each room may import of ours; `test` is test/, `port` and `adapters` are src/cluster's. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  'src/model': ['model'],
  'src/checks': ['model', 'checks'],
  'src/dataplane': ['model', 'checks', 'dataplane'],
  'src/diagnosis': ['model', 'checks', 'dataplane', 'diagnosis', 'port'],
  'src/remedies': ['model', 'diagnosis', 'remedies', 'port'],
  'src/cluster': ['model', 'port', 'adapters', '@kubernetes/client-node'],
  'src/agent': ['model', 'remedies', 'agent'],
  'src/store': ['model', 'store'],
  'src/jobs': ['model', 'store', 'jobs', 'bullmq'],
  'src/bot': ['model', 'store', 'jobs', 'bot', 'formatters', '@slack/bolt', '@slack/types'],
  'src/formatters': ['model', 'formatters', '@slack/types'],
  'src/cli': [...OURS, 'port', 'adapters'],
};

const LIBRARIES = ['@kubernetes/client-node', '@slack/bolt', '@slack/types', 'bullmq'];

/** Everything that some room imports, by the name it has in `ROOMS`. */
const IMPORTS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(OURS.map((room) => [room, `../${room}/some.ts`])),
  port: '../cluster/port.ts',
  adapters: '../cluster/kubernetes/index.ts',
  test: '../../test/lab/lab.ts',
  ...Object.fromEntries(LIBRARIES.map((name) => [name, name])),
};

const LintReport = z.object({
  diagnostics: z.array(
    z.object({
      code: z.string(),
      help: z.string().optional(),
      filename: z.string(),
      labels: z.array(z.object({ span: z.object({ line: z.int() }) })),
    }),
  ),
});

test('there are rules for every room', () => {
  const rooms = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(rooms.map(({ name }) => `src/${name}`).toSorted()).toEqual(Object.keys(ROOMS).toSorted());
});

test('every room imports what it may, and is told why it may not import the rest', () => {
  const names = Object.keys(IMPORTS);
  const text = Object.values(IMPORTS)
    .map((from) => `export * from '${from}';\n`)
    .join('');
  for (const room of Object.keys(ROOMS)) write(`${room}/some.ts`, text);
  const { stdout } = spawnSync('oxlint', ['--format', 'json'], { cwd: project, encoding: 'utf8' });
  const refusals = LintReport.parse(JSON.parse(stdout))
    .diagnostics.filter(({ code }) => code === 'eslint(no-restricted-imports)')
    .map(({ filename, help, labels }) => ({ room: dirname(filename), name: names[(labels[0]?.span.line ?? 0) - 1], help }));
  const allowed = Object.keys(ROOMS).map((room) => {
    const refused = refusals.filter((refusal) => refusal.room === room).map(({ name }) => name);
    return [room, names.filter((name) => !refused.includes(name))] as const;
  });
  expect(Object.fromEntries(allowed)).toEqual(
    Object.fromEntries(Object.entries(ROOMS).map(([room, may]) => [room, names.filter((name) => may.includes(name))])),
  );
  const about = ({ room, name = '' }: (typeof refusals)[number]): string => (OURS.includes(name) ? room : name);
  const reasons = [...Map.groupBy(refusals, about)].map(
    ([key, all]) => [key, [...new Set(all.map(({ help = '' }) => help))].toSorted()] as const,
  );
  expect(Object.fromEntries(reasons)).toMatchInlineSnapshot(`
    {
      "@kubernetes/client-node": [
        "Only src/cluster imports the Kubernetes client.",
      ],
      "@slack/bolt": [
        "Only src/bot imports Slack's libraries.",
      ],
      "@slack/types": [
        "Only src/bot imports Slack's libraries.",
      ],
      "adapters": [
        "A dataplane imports the model and the kit only.",
        "Checks import the model, the kit and zod only.",
        "Diagnosis knows a cluster by its port only.",
        "Formatters import the model only.",
        "Jobs import the model and the store only.",
        "Remedies know a cluster by its port only.",
        "The agent imports the model and the remedies only.",
        "The bot imports the model, the store, the jobs and the formatters.",
        "The store imports the model only.",
        "src/model imports nothing of ours but the model.",
      ],
      "bullmq": [
        "Only src/jobs imports BullMQ.",
      ],
      "port": [
        "A dataplane imports the model and the kit only.",
        "Checks import the model, the kit and zod only.",
        "Formatters import the model only.",
        "Jobs import the model and the store only.",
        "The agent imports the model and the remedies only.",
        "The bot imports the model, the store, the jobs and the formatters.",
        "The store imports the model only.",
        "src/model imports nothing of ours but the model.",
      ],
      "src/agent": [
        "The agent imports the model and the remedies only.",
      ],
      "src/bot": [
        "The bot imports the model, the store, the jobs and the formatters.",
      ],
      "src/checks": [
        "Checks import the model, the kit and zod only.",
      ],
      "src/cluster": [
        "The cluster's adapters import the model only.",
      ],
      "src/dataplane": [
        "A dataplane imports the model and the kit only.",
      ],
      "src/diagnosis": [
        "Diagnosis imports the model, the catalogue, the dataplanes and the port to a cluster.",
      ],
      "src/formatters": [
        "Formatters import the model only.",
      ],
      "src/jobs": [
        "Jobs import the model and the store only.",
      ],
      "src/model": [
        "src/model imports nothing of ours but the model.",
      ],
      "src/remedies": [
        "Remedies import the model, diagnosis and the port to a cluster.",
      ],
      "src/store": [
        "The store imports the model only.",
      ],
      "test": [
        "The product does not import its tests.",
      ],
    }
  `);
});
