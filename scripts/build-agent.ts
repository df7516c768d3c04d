import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { templateOf } from '../src/agent/template.ts';
import { CHECKS } from '../src/checks/index.ts';
import type { Readings } from '../src/checks/kit/check.ts';
import { PLANNING } from '../src/diagnosis/collect.ts';

const ROOT = join(import.meta.dirname, '..');

/**
 * Bundles the agent into a folder: `netcheck-agent.cjs` reads and probes, and `netcheck-remedy.cjs`, which only the image
 * with remedies holds, acts. The readings of the catalogue are built in: they are all that the agent will run or read.
 */
export async function buildAgent(folder: string): Promise<void> {
  const collects: readonly Readings[] = [PLANNING, ...Object.values(CHECKS).map((check) => check.collect)];
  const readings = collects.flatMap((collect) => Object.values(collect));
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  await build({
    entryPoints: { 'netcheck-agent': join(ROOT, 'src/agent/main.ts'), 'netcheck-remedy': join(ROOT, 'src/agent/remedy-main.ts') },
    outdir: folder,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    // CommonJS: an ES module takes 10 ms longer to start, on every node of every run.
    format: 'cjs',
    target: 'node24',
    minifySyntax: true,
    define: {
      NETCHECK_AGENT: JSON.stringify({
        version,
        commands: readings.flatMap((reading) => ('argv' in reading ? [templateOf(reading)] : [])),
        files: readings.flatMap((reading) => ('files' in reading ? [templateOf(reading)] : [])),
      }),
    },
  });
}

if (import.meta.main) {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('name the folder that the agent is to be built into');
  await buildAgent(folder);
}
