import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { nearNames } from '../../src/model/near-names.ts';
import { messageOf } from '../../src/model/text.ts';
import { FAULTS, networksOf } from '../lab/faults/index.ts';
import { openHandle } from '../lab/handle.ts';
import { HARMLESS } from '../lab/harmless/index.ts';
import { NetworkKind, planTopology } from '../lab/topology.ts';
import { accuracyPage, bars, type Measured, placesText } from './figures.ts';
import { type Layered, leftOf, NODES, pairsOf, placements, replacedBy } from './plan.ts';
import { runTrial } from './run.ts';
import type { Planned, Trial } from './trial.ts';

/*
 * The fault suite: every lab fault alone in a fresh lab of each kind that it can be in, pairs of faults of different layers,
 * and healthy clusters, usual and unusual. What each trial showed is appended to a file, from which an interrupted suite
 * goes on; the page docs/accuracy.md comes from it.
 */

const USAGE = `usage:
  npm run lab:score -- [--placements 5] [--pairs 100] [--healthy 3] [--unusual 2] [--seed 1] [--only NAME,NAME] [--record FILE]
      Runs the suite and writes docs/accuracy.md; with --only it runs these faults and unusual clusters alone, and prints.
      What FILE holds of the commit that is checked out is not run again.
  npm run lab:score -- --record FILE --earlier COMMIT,COMMIT [--again NAME,NAME] [--report]
      Has trials of earlier commits count as well, the first before the second, but for what has been tried again since, and
      for these names. With --report it only writes the page.
`;

const { values } = parseArgs({
  options: {
    placements: { type: 'string', default: '5' },
    pairs: { type: 'string', default: '100' },
    healthy: { type: 'string', default: '3' },
    unusual: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    record: { type: 'string' },
    earlier: { type: 'string', default: '' },
    again: { type: 'string', default: '' },
    report: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const PAGE = join(import.meta.dirname, '../../docs/accuracy.md');

if (values.help) process.stdout.write(USAGE);
else await main();

async function main(): Promise<void> {
  const commit = currentCommit();
  const recorded = values.record !== undefined && existsSync(values.record) ? readTrials(values.record) : [];
  const { trials: done, replaced } = counted(recorded, commit);
  const trials = [...done];
  const failed: { readonly planned: Planned; readonly why: string }[] = [];
  const missing = leftOf(plan(), done);
  const left = values.report ? [] : missing;
  process.stdout.write(`${trials.length} trials are there, ${left.length} are to be made at ${commit}\n`);
  for (const [index, planned] of left.entries()) {
    const made = await attempt(planned, commit);
    process.stdout.write(`${index + 1}/${left.length} ${placesText(planned)}: `);
    if (typeof made === 'string') {
      failed.push({ planned, why: made });
      process.stdout.write(`NOT MADE: ${made}\n`);
      continue;
    }
    trials.push(made);
    if (values.record !== undefined) appendFileSync(values.record, `${JSON.stringify(made)}\n`);
    const wrong = [...made.wrong, ...made.wrongDirections];
    process.stdout.write(
      wrong.length === 0 ? 'right\n' : `WRONG\n    ${[...wrong, `said: ${made.said.headline}`].join('\n    ')}\n`,
    );
  }
  const measured: Measured = { trials, replaced, failed, missing: values.report ? missing : [], seed: values.seed };
  const page = accuracyPage(measured);
  if (values.only === undefined) {
    writeFileSync(PAGE, page);
    execFileSync('biome', ['format', '--write', PAGE]);
  } else process.stdout.write(`\n${page}`);
  const reached = bars(trials);
  for (const { bar, is, reached: isReached } of reached)
    process.stdout.write(`${isReached ? 'ok    ' : 'MISSED'} ${bar}: ${is}\n`);
  process.exitCode = (failed.length === 0 && reached.every((bar) => bar.reached)) || values.only !== undefined ? 0 : 1;
}

/** Every trial of the suite, or of the part of it that was asked for. */
function plan(): readonly Planned[] {
  const only = values.only?.split(',');
  const { placements: each, pairs, healthy, unusual } = values;
  const [perFault = 0, pairCount = 0, healthyCount = 0, unusualCount = 0] = [each, pairs, healthy, unusual].map(whole);
  const names = [...Object.keys(FAULTS), ...Object.keys(HARMLESS)];
  for (const name of [...(only ?? []), ...listed(values.again)]) {
    if (!names.includes(name))
      throw new Error(
        `there is no fault or unusual cluster '${name}': ${nearNames(name, names).join(', ') || 'npm run lab -- faults'}`,
      );
  }
  const { seed } = values;
  const nowhere = { node: '', peer: '' };
  return [
    ...NetworkKind.options.flatMap((network) =>
      only === undefined ? Array.from({ length: healthyCount }, () => ({ kind: 'healthy', network, placed: [] }) as const) : [],
    ),
    ...Object.keys(HARMLESS)
      .filter((name) => only === undefined || only.includes(name))
      .flatMap((name) =>
        Array.from(
          { length: unusualCount },
          () => ({ kind: 'healthy', network: 'vxlan', placed: [{ name, at: nowhere }] }) as const,
        ),
      ),
    ...NetworkKind.options.flatMap((network) =>
      layered(network, only).flatMap((fault) =>
        placements(fault, perFault, network === 'vxlan' ? seed : `${seed} ${network}`).map(
          (place) => ({ kind: 'single', network, placed: [place] }) as const,
        ),
      ),
    ),
    // A run about one pod sees little of what else is wrong.
    ...pairsOf(
      layered('vxlan', only).filter(({ name }) => FAULTS[name]?.request === undefined),
      only === undefined ? pairCount : 0,
      seed,
    ).map((placed) => ({ kind: 'pair', network: 'vxlan', placed }) as const),
  ];
}

/**
 * The recorded trials that count: of what was tried at several commits, those of the checked-out one, else of the first that
 * was listed. `replaced` are the others of these commits.
 */
function counted(
  recorded: readonly Trial[],
  commit: string,
): { readonly trials: readonly Trial[]; readonly replaced: readonly Trial[] } {
  const again = listed(values.again);
  const ofCommits = [commit, ...listed(values.earlier)].map((known) => recorded.filter((trial) => trial.commit === known));
  const seen = new Set<string>();
  const [trials, replaced]: [Trial[], Trial[]] = [[], []];
  for (const [index, own] of ofCommits.entries()) {
    const isReplaced = (trial: Trial): boolean =>
      seen.has(replacedBy(trial)) || (index > 0 && trial.placed.some(({ name }) => again.includes(name)));
    trials.push(...own.filter((trial) => !isReplaced(trial)));
    replaced.push(...own.filter(isReplaced));
    for (const trial of own) seen.add(replacedBy(trial));
  }
  return { trials, replaced };
}

/** Makes a trial, twice where it cannot be made. Returns why it could not. */
async function attempt(planned: Planned, commit: string): Promise<Trial | string> {
  try {
    return await runTrial(planned, commit);
  } catch {
    try {
      return await runTrial(planned, commit);
    } catch (error) {
      return messageOf(error);
    }
  }
}

/** The commit that is checked out, marked where something that a trial depends on is changed. */
function currentCommit(): string {
  const git = (...args: readonly string[]): string =>
    execFileSync('git', ['-C', join(import.meta.dirname, '../..'), ...args], { encoding: 'utf8' }).trim();
  const isChanged = git('status', '--porcelain', '--', 'src', 'test', 'package-lock.json') !== '';
  return `${git('rev-parse', '--short=12', 'HEAD')}${isChanged ? '-dirty' : ''}`;
}

/** The faults of a kind of lab, with the layers of their verdicts, which a lab that does not run can tell. */
function layered(network: NetworkKind, only: readonly string[] | undefined): readonly Layered[] {
  const lab = openHandle({ topology: planTopology(NODES, network), nodes: {} } as Parameters<typeof openHandle>[0]);
  return Object.values(FAULTS)
    .filter((fault) => networksOf(fault).includes(network) && (only === undefined || only.includes(fault.name)))
    .map((fault) => {
      const nodes = fault.nodes?.(lab.topology);
      const [node = 'node-2'] = nodes ?? [];
      return {
        name: fault.name,
        placement: fault.placement,
        layer: fault.expects(lab, { node, peer: node === 'node-3' ? 'node-4' : 'node-3' }).layer,
        ...(nodes === undefined ? {} : { nodes }),
      };
    });
}

function readTrials(file: string): Trial[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Trial);
}

function listed(text: string): readonly string[] {
  return text === '' ? [] : text.split(',');
}

function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`'${text}' is not a whole number.\n${USAGE}`);
  return Number(text);
}
