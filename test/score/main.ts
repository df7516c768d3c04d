import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FAULTS, networksOf } from '../lab/faults/index.ts';
import { openHandle } from '../lab/handle.ts';
import { planTopology } from '../lab/topology.ts';
import { accuracyPage, bars, placesText } from './figures.ts';
import { type Layered, NODES, pairsOf, placements } from './plan.ts';
import { runTrial } from './run.ts';
import type { Kind, Placed, Trial } from './trial.ts';

/*
 * The fault suite: every lab fault alone in a fresh lab, pairs of faults of different layers, and healthy clusters. What
 * each trial showed is appended to a file, from which an interrupted suite goes on; the page docs/accuracy.md comes from it.
 */

const USAGE = `usage:
  npm run lab:score -- [--placements 5] [--pairs 100] [--healthy 10] [--seed 1] [--only FAULT,FAULT] [--record FILE]
      Runs the suite and writes docs/accuracy.md (with --only it prints instead). Trials that FILE holds already are not
      run again.
`;

const { values } = parseArgs({
  options: {
    placements: { type: 'string', default: '5' },
    pairs: { type: 'string', default: '100' },
    healthy: { type: 'string', default: '10' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    record: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) process.stdout.write(USAGE);
else await main();

async function main(): Promise<void> {
  const [perFault, pairCount, healthyCount, seed] = [values.placements, values.pairs, values.healthy, values.seed].map(whole);
  const faults = layered(values.only?.split(','));
  const planned: (readonly [Kind, readonly Placed[]])[] = [
    ...(values.only === undefined ? Array.from({ length: healthyCount ?? 0 }, () => ['healthy', []] as const) : []),
    ...faults.flatMap((fault, index) =>
      placements(fault, perFault ?? 0, (seed ?? 0) * 1000 + index).map((place) => ['single', [place]] as const),
    ),
    // A run about one pod sees little of what else is wrong.
    ...pairsOf(
      faults.filter(({ name }) => FAULTS[name]?.request === undefined),
      values.only === undefined ? (pairCount ?? 0) : 0,
      seed ?? 0,
    ).map((pair) => ['pair', pair] as const),
  ];
  const trials: Trial[] = values.record !== undefined && existsSync(values.record) ? readTrials(values.record) : [];
  const left = new Map<string, number>();
  for (const trial of trials) left.set(keyOf(trial.kind, trial.placed), (left.get(keyOf(trial.kind, trial.placed)) ?? 0) + 1);
  for (const [index, [kind, placed]] of planned.entries()) {
    const key = keyOf(kind, placed);
    const recorded = left.get(key) ?? 0;
    if (recorded > 0) {
      left.set(key, recorded - 1);
      continue;
    }
    const trial = await runTrial(kind, placed);
    trials.push(trial);
    if (values.record !== undefined) appendFileSync(values.record, `${JSON.stringify(trial)}\n`);
    const wrong = [...trial.wrong, ...trial.wrongDirections];
    process.stdout.write(
      `${index + 1}/${planned.length} ${placesText(trial)}: ${wrong.length === 0 ? 'right' : `WRONG\n    ${wrong.join('\n    ')}\n    said: ${trial.said.headline}`}\n`,
    );
  }
  const setting = `Measured by \`npm run lab:score -- --placements ${perFault} --pairs ${pairCount} --healthy ${healthyCount} --seed ${seed}\`: ${trials.length} trials, each in a fresh lab of
${NODES} nodes ([the lab](../test/lab/readme.md)); every fault alone in ${perFault} placements, ${pairCount} pairs of faults from
different layers, placements and pairs drawn by the seed.`;
  const page = accuracyPage(trials, setting);
  if (values.only === undefined) writeFileSync(join(import.meta.dirname, '../../docs/accuracy.md'), page);
  else process.stdout.write(`\n${page}`);
  const reached = bars(trials);
  for (const { bar, is, reached: isReached } of reached)
    process.stdout.write(`${isReached ? 'ok    ' : 'MISSED'} ${bar}: ${is}\n`);
  process.exitCode = reached.every((bar) => bar.reached) || values.only !== undefined ? 0 : 1;
}

/** The faults with the layers of their verdicts, which a lab that does not run can tell. */
function layered(only: readonly string[] | undefined): readonly Layered[] {
  const lab = openHandle({ topology: planTopology(NODES), nodes: {} } as Parameters<typeof openHandle>[0]);
  const unknown = only?.find((name) => FAULTS[name] === undefined);
  if (unknown !== undefined) throw new Error(`there is no fault '${unknown}'. List them with: npm run lab -- faults`);
  return Object.values(FAULTS)
    .filter((fault) => networksOf(fault).includes('vxlan') && (only === undefined || only.includes(fault.name)))
    .map((fault) => ({
      name: fault.name,
      placement: fault.placement,
      layer: fault.expects(lab, { node: 'node-2', peer: 'node-3' }).layer,
    }));
}

function readTrials(file: string): Trial[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Trial);
}

function keyOf(kind: Kind, placed: readonly Placed[]): string {
  return `${kind} ${placed.map(({ name, at }) => `${name} ${at.node} ${at.peer}`).join(' + ')}`;
}

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`'${text}' is not a whole number.\n${USAGE}`);
  return Number(text);
}
