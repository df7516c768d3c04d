import { existsSync, globSync, statSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PROJECT } from './rack.ts';

const FOLDER = join(PROJECT, '.cache/agent');
const BUNDLE = join(FOLDER, 'netcheck-agent.cjs');

/**
 * The path of the agent, built when a source is newer than it. Labs that start at once may both build it:
 * each writes aside and renames.
 */
export async function agentBundle(): Promise<string> {
  const sources = globSync(['src/{agent,model,checks,remedies}/**/*.ts', 'src/diagnosis/collect.ts', 'scripts/build-agent.ts'], {
    cwd: PROJECT,
  });
  const built = statSync(BUNDLE, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (!existsSync(BUNDLE) || sources.some((source) => statSync(join(PROJECT, source)).mtimeMs > built)) await build();
  return BUNDLE;
}

/** Loaded only when something has to be built: the bundler takes longer to load than a small lab to start. */
async function build(): Promise<void> {
  const [{ buildAgent }, { stop }] = await Promise.all([import('../../scripts/build-agent.ts'), import('esbuild')]);
  const aside = `${FOLDER}.${process.pid}`;
  await buildAgent(aside);
  // Its process would live as long as this one, which may hold a lab.
  await stop();
  await mkdir(FOLDER, { recursive: true });
  for (const file of await readdir(aside)) await rename(join(aside, file), join(FOLDER, file));
  await rm(aside, { recursive: true });
}
