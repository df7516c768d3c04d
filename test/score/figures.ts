import { counted } from '../../src/diagnosis/words.ts';
import { NODES } from './plan.ts';
import { isSame, type Kind, type Planned, type Trial } from './trial.ts';

/**
 * What a set of trials amounts to. `recall`: causes that had to be said and were, of those that had to be; a fault that no
 * check knows counts as one cause, said when it was located. `precision`: causes said that had to be, of those said; a
 * location counts as one that had to be where one had to be there. `risks` is the recall of risks.
 * `layer`, `scope` and `whole` are shares of trials: the right layer, every broken node named, nothing different at all.
 * `healthy` are the trials in which nothing is broken, `falseAlarms` those of them that were told as anything else;
 * `directions` the statements of a direction that could be held against the fault.
 */
export type Figures = {
  readonly trials: number;
  readonly recall: Share;
  readonly precision: Share;
  readonly risks: Share;
  readonly layer: Share;
  readonly scope: Share;
  readonly whole: Share;
  readonly healthy: number;
  readonly falseAlarms: number;
  readonly directions: number;
  readonly wrongDirections: number;
  readonly medianSeconds: number;
};

export type Share = { readonly of: number; readonly right: number };

/** The figures of trials of any kind. Pure. */
export function figuresOf(trials: readonly Trial[]): Figures {
  const count = (is: (trial: Trial) => boolean): Share => ({ of: trials.length, right: trials.filter(is).length });
  const expected = trials.flatMap(({ expected: { causes, located }, said }) => [
    ...causes.map((cause) => said.causes.some((one) => isSame(cause, one))),
    ...(located ? [said.located > 0] : []),
  ]);
  const said = trials.flatMap((trial) => [
    ...trial.said.causes.map((one) => isExpected(trial, one)),
    ...Array.from({ length: trial.said.located }, () => trial.expected.located),
  ]);
  const risks = trials.flatMap(({ expected, said: told }) =>
    expected.risks.map((code) => told.risks.some((risk) => codeOf(risk) === code)),
  );
  const seconds = trials.map((trial) => trial.seconds).toSorted((a, b) => a - b);
  return {
    trials: trials.length,
    recall: share(expected),
    precision: share(said),
    risks: share(risks),
    layer: count(({ expected: { layer }, said: { layer: told } }) => layer === told),
    scope: count(({ missedNodes }) => missedNodes.length === 0),
    whole: count(({ wrong }) => wrong.length === 0),
    healthy: trials.filter(({ expected: { status } }) => status === 'healthy').length,
    falseAlarms: trials.filter(isFalseAlarm).length,
    directions: trials.reduce((sum, { directions }) => sum + directions, 0),
    wrongDirections: trials.reduce((sum, { wrongDirections }) => sum + wrongDirections.length, 0),
    medianSeconds: seconds[Math.floor(seconds.length / 2)] ?? 0,
  };
}

/** A healthy cluster, or one in which nothing is broken as yet, that is called anything else, or of which a cause is told. */
function isFalseAlarm({ expected, said }: Trial): boolean {
  return expected.status === 'healthy' && (said.status !== 'healthy' || said.causes.length > 0 || said.located > 0);
}

function isExpected({ expected }: Trial, said: string): boolean {
  return expected.causes.some((cause) => isSame(cause, said));
}

function share(outcomes: readonly boolean[]): Share {
  return { of: outcomes.length, right: outcomes.filter(Boolean).length };
}

/** `0.985 (197 of 200)`, or a dash. */
export function shareText({ of, right }: Share): string {
  return of === 0 ? '–' : `${(right / of).toFixed(3)} (${right} of ${of})`;
}

/** What the bars ask, with whether the trials reach it. */
export function bars(
  trials: readonly Trial[],
): readonly { readonly bar: string; readonly is: string; readonly reached: boolean }[] {
  const of = (kind: Kind): Figures => figuresOf(trials.filter((trial) => trial.kind === kind));
  const [single, pair, all] = [of('single'), of('pair'), figuresOf(trials)];
  const atLeast = (bar: string, { of: n, right }: Share, least: number) => ({
    bar: `${bar} ≥ ${least.toFixed(2)}`,
    is: shareText({ of: n, right }),
    reached: n > 0 && right / n >= least,
  });
  const none = (bar: string, is: number, n: number) => ({ bar: `${bar}: 0`, is: `${is} of ${n}`, reached: is === 0 && n > 0 });
  return [
    atLeast('recall, one fault', single.recall, 0.98),
    atLeast('recall, two faults', pair.recall, 0.95),
    atLeast('precision, all trials', all.precision, 0.98),
    none('false alarms, trials with nothing broken', all.falseAlarms, all.healthy),
    none('wrong directions', all.wrongDirections, all.directions),
  ];
}

/** What was different in each trial that was not told wholly right. Pure. */
export function differences(trials: readonly Trial[]): readonly string[] {
  return trials.flatMap((trial) => {
    const { wrong, wrongDirections, commit } = trial;
    const all = [...wrong, ...wrongDirections.slice(0, SHOWN)];
    const more = wrongDirections.length - SHOWN;
    if (more > 0) all.push(`and ${more} more wrong directions`);
    return all.map((difference) => `- ${placesText(trial)} (${commit}): ${difference}`);
  });
}

/** So many directions of one trial are shown. */
const SHOWN = 3;

/**
 * What had to be said against what was said: each combination of codes that occurred, and how often. What was said instead
 * of something stands beside it; where as much was said too much as is missing, one beside the other. Pure.
 */
export function confusion(
  trials: readonly Trial[],
): readonly { readonly should: string; readonly said: string; readonly n: number }[] {
  const cells = new Map<string, number>();
  const add = (should: string, said: string): void => {
    const key = `${should}\t${said}`;
    cells.set(key, (cells.get(key) ?? 0) + 1);
  };
  for (const trial of trials) {
    const { expected, said } = trial;
    const missing: string[] = [];
    for (const cause of expected.causes) {
      if (said.causes.some((one) => isSame(cause, one))) add(codeOf(cause), codeOf(cause));
      else missing.push(codeOf(cause));
    }
    const surplus = said.causes.flatMap((cause) => (isExpected(trial, cause) ? [] : [codeOf(cause)]));
    if (expected.located) {
      if (said.located > 0) add(LOCATED, LOCATED);
      else missing.push(LOCATED);
    } else surplus.push(...Array.from({ length: said.located }, () => LOCATED));
    if (expected.causes.length === 0 && !expected.located && surplus.length === 0) add(NOTHING, NOTHING);
    for (let index = 0; index < Math.max(missing.length, surplus.length); index += 1)
      add(missing[index] ?? NOTHING, surplus[index] ?? NOTHING);
  }
  return [...cells]
    .map(([key, n]) => {
      const [should = '', said = ''] = key.split('\t');
      return { should, said, n };
    })
    .toSorted((a, b) => a.should.localeCompare(b.should) || a.said.localeCompare(b.said));
}

const LOCATED = '(located only)';
const NOTHING = '(no cause)';

function codeOf(cause: string): string {
  return cause.split(' on ')[0] ?? cause;
}

/** `ip-forward-off on node-2 + coredns-down`, with the kind of lab where it is not flannel's vxlan. */
export function placesText({ network, placed }: Pick<Trial, 'network' | 'placed'>): string {
  const what = placed.map(({ name, at }) => `${name}${placeText(at)}`).join(' + ') || USUAL;
  return network === 'vxlan' ? what : `${what}, ${network}`;
}

const USUAL = 'nothing put in';

function placeText({ node, peer }: Trial['placed'][number]['at']): string {
  if (node === '') return '';
  return peer === '' ? ` on ${node}` : ` on ${node} towards ${peer}`;
}

/**
 * All that was measured: the trials that count, those of earlier commits that were made again, and those that could not be
 * made; `missing` what is planned and was not tried, or not made, before; `seed` is what they were drawn by.
 */
export type Measured = {
  readonly trials: readonly Trial[];
  readonly replaced: readonly Trial[];
  readonly failed: readonly { readonly planned: Planned; readonly why: string }[];
  readonly missing: readonly Planned[];
  readonly seed: string;
};

/** The page that says how right the verdicts are. Pure. */
export function accuracyPage({ trials, replaced, failed, missing, seed }: Measured): string {
  const kinds: readonly (readonly [string, (trial: Trial) => boolean])[] = [
    ['one fault', ({ kind }) => kind === 'single'],
    ['two faults of different layers', ({ kind }) => kind === 'pair'],
    ['healthy', ({ kind, placed }) => kind === 'healthy' && placed.length === 0],
    ['healthy and unusual', ({ kind, placed }) => kind === 'healthy' && placed.length > 0],
    ['all', () => true],
  ];
  const rows = kinds.map(([title, is]) => {
    const own = figuresOf(trials.filter(is));
    const shares = [own.recall, own.precision, own.risks, own.layer, own.scope, own.whole].map(shareText);
    const alarms = own.healthy === 0 ? '–' : `${own.falseAlarms} of ${own.healthy}`;
    const directions = own.directions === 0 ? '–' : `${own.wrongDirections} of ${own.directions}`;
    return `| ${[title, own.trials, ...shares, alarms, directions, own.medianSeconds.toFixed(1)].join(' | ')} |`;
  });
  const groups = Map.groupBy(
    trials.filter(({ kind }) => kind !== 'pair'),
    ({ network, placed }) => `${nameOf(placed)} | ${network}`,
  );
  const each = [...groups]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, own]) => {
      const { recall, risks, layer, scope, whole } = figuresOf(own);
      const found = [recall, risks].map(({ right, of }) => (of === 0 ? '–' : `${right} of ${of}`));
      return `| ${[name, own.length, ...found, layer.right, scope.right, whole.right].join(' | ')} |`;
    });
  const sections: readonly (readonly [string, readonly string[], string])[] = [
    ['What was wrong', differences(trials), 'Nothing.'],
    [
      'What was wrong before',
      differences(replaced),
      replaced.length === 0 ? 'No trial was made again after a change.' : 'Nothing of what was made again.',
    ],
    ['What was planned and not made', unmade(failed, missing), 'Every planned trial was made.'],
  ];
  const [wrong, before, notMade] = sections.map(([title, list, none]) => `## ${title}\n\n${list.join('\n') || none}\n`);
  return `# How right the verdicts are

Measured by \`npm run lab:score\`: ${counted(trials.length, 'trial')}, each in a fresh lab of ${NODES} nodes ([the lab](../test/lab/readme.md)), diagnosed as
the command line does. Every fault is put in alone, in each kind of lab that it can be in, every healthy but unusual cluster is
built, and pairs of faults are drawn from those of different layers; where each is put is drawn as well (seed ${seed}). A trial that
could not be made is no verdict and does not count. Trials of several commits are told apart below.

A verdict is wholly right when its status, layer, causes (code and accused node), what is located without a cause,
the broken nodes that its scope names, the risks and what was not checked are as the fault's own file says, and nothing
else is accused. A fault that no check knows has to be located, which counts as one cause. Directions are held against the
packets that the fault loses, where its file says which.

## Bars

| bar | measured | |
| --- | --- | --- |
${bars(trials)
  .map(({ bar, is, reached }) => `| ${bar} | ${is} | ${reached ? 'reached' : '**missed**'} |`)
  .join('\n')}

## Figures

| trials | n | recall of causes | precision of causes | recall of risks | layer | scope | wholly right | false alarms | wrong directions | median seconds |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

${wrong}
${before}
${notMade}
## Of which commit

${commitsText(trials, replaced)}

## Confusion

What had to be said against what was said, each cause for itself; combinations that did not occur are left out.

| should be said | was said | times |
| --- | --- | --- |
${confusion(trials)
  .map(({ should, said, n }) => `| ${should} | ${said} | ${n} |`)
  .join('\n')}

## Each alone

| put in | lab | n | causes found | risks told | right layer | right scope | wholly right |
| --- | --- | --- | --- | --- | --- | --- | --- |
${each.join('\n')}
`;
}

/** What was planned and is not among the trials. A fault cannot be proved where another one has taken what its proof needs. */
function unmade(failed: Measured['failed'], missing: readonly Planned[]): readonly string[] {
  const groups = Map.groupBy(missing, ({ kind, network, placed }) =>
    kind === 'pair' ? 'pairs' : `${nameOf(placed)}${network === 'vxlan' ? '' : `, ${network}`}`,
  );
  return [
    ...failed.map(({ planned, why }) => `- ${placesText(planned)}: ${why}`),
    ...[...groups].map(([name, own]) => `- ${name}: ${counted(own.length, 'trial')}`),
  ];
}

/** Of each commit what was tried at it, and how many of these trials count still. */
function commitsText(trials: readonly Trial[], replaced: readonly Trial[]): string {
  const all = [...trials, ...replaced];
  const lines = [...Map.groupBy(all, ({ commit }) => commit)].map(([commit, own]) => {
    const { recall, precision, whole, healthy, falseAlarms } = figuresOf(own);
    const counting = own.filter((trial) => trials.includes(trial)).length;
    const cells = [...[recall, precision, whole].map(shareText), `${falseAlarms} of ${healthy}`];
    return `| \`${commit}\` | ${[own.length, counting, ...cells].join(' | ')} |`;
  });
  const again = [...new Set(replaced.map(({ placed }) => nameOf(placed)))].toSorted();
  return `| commit | trials | of these count | recall of causes | precision of causes | wholly right | false alarms |
| --- | --- | --- | --- | --- | --- | --- |
${lines.join('\n')}

${again.length === 0 ? 'Nothing was tried again after a change.' : `Tried again at a later commit, which is the one that counts, right or wrong: ${again.join(', ')}.`}`;
}

function nameOf(placed: Trial['placed']): string {
  return placed.map(({ name }) => name).join(' + ') || USUAL;
}
