import { isSame, type Kind, type Trial } from './trial.ts';

/**
 * What a set of trials amounts to. `recall`: causes that had to be said and were, of those that had to be; a fault that no
 * check knows counts as one cause, said when it was located. `precision`: causes said that had to be, of those said.
 * `layer`, `scope` and `whole` are shares of trials: the right layer, every broken node named, nothing different at all.
 * Shares are null where there is nothing to take a share of.
 */
export type Figures = {
  readonly trials: number;
  readonly recall: Share;
  readonly precision: Share;
  readonly layer: Share;
  readonly scope: Share;
  readonly whole: Share;
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
  const said = trials.flatMap((trial) => trial.said.causes.map((one) => isExpected(trial, one)));
  const seconds = trials.map((trial) => trial.seconds).toSorted((a, b) => a - b);
  return {
    trials: trials.length,
    recall: share(expected),
    precision: share(said),
    layer: count(({ expected: { layer }, said: { layer: told } }) => layer === told),
    scope: count(({ missedNodes }) => missedNodes.length === 0),
    whole: count(({ wrong }) => wrong.length === 0),
    falseAlarms: trials.filter(isFalseAlarm).length,
    directions: trials.reduce((sum, { said: { directions } }) => sum + directions, 0),
    wrongDirections: trials.reduce((sum, { wrongDirections }) => sum + wrongDirections.length, 0),
    medianSeconds: seconds[Math.floor(seconds.length / 2)] ?? 0,
  };
}

/** A healthy cluster that is called anything else, or of which a cause is told. */
function isFalseAlarm({ expected, said }: Trial): boolean {
  return expected.status === 'healthy' && (said.status !== 'healthy' || said.causes.length > 0);
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
  const [single, pair, healthy, all] = [of('single'), of('pair'), of('healthy'), figuresOf(trials)];
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
    none('false alarms, healthy clusters', healthy.falseAlarms, healthy.trials),
    none('wrong directions, all trials', all.wrongDirections, all.directions),
  ];
}

/** For each fault (or pair) that was not told wholly right, what was different and how often. Pure. */
export function differences(trials: readonly Trial[]): readonly string[] {
  return trials.flatMap((trial) =>
    [...trial.wrong, ...trial.wrongDirections].map((difference) => `- ${placesText(trial)}: ${difference}`),
  );
}

/** What had to be said against what was said: each pair of codes that occurred, and how often. Pure. */
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
    for (const cause of expected.causes) {
      const found = said.causes.find((one) => isSame(cause, one));
      add(codeOf(cause), found === undefined ? 'nothing' : codeOf(found));
    }
    if (expected.located) add('located', said.located > 0 ? 'located' : 'nothing');
    for (const cause of said.causes) if (!isExpected(trial, cause)) add('nothing', codeOf(cause));
    if (!expected.located) for (let n = 0; n < said.located; n += 1) add('nothing', 'located');
  }
  return [...cells]
    .map(([key, n]) => {
      const [should = '', said = ''] = key.split('\t');
      return { should, said, n };
    })
    .toSorted((a, b) => a.should.localeCompare(b.should) || a.said.localeCompare(b.said));
}

function codeOf(cause: string): string {
  return cause.split(' on ')[0] ?? cause;
}

/** `ip-forward-off on node-2 + coredns-down`. */
export function placesText({ placed }: Pick<Trial, 'placed'>): string {
  return placed.map(({ name, at: { node } }) => (node === '' ? name : `${name} on ${node}`)).join(' + ') || 'nothing put in';
}

/** The page that says how right the verdicts are. `setting` says how it was measured. Pure. */
export function accuracyPage(trials: readonly Trial[], setting: string): string {
  const kinds: readonly (readonly [string, Kind])[] = [
    ['one fault', 'single'],
    ['two faults', 'pair'],
    ['healthy, usual and unusual', 'healthy'],
  ];
  const rows = kinds.map(([title, kind]) => {
    const {
      trials: n,
      recall,
      precision,
      layer,
      scope,
      whole,
      medianSeconds,
    } = figuresOf(trials.filter((trial) => trial.kind === kind));
    return `| ${title} | ${n} | ${[recall, precision, layer, scope, whole].map(shareText).join(' | ')} | ${medianSeconds.toFixed(1)} |`;
  });
  const singles = Map.groupBy(
    trials.filter(({ kind }) => kind !== 'pair'),
    ({ placed }) => placed.map(({ name }) => name).join(' + ') || 'nothing put in',
  );
  const each = [...singles].map(([name, own]) => {
    const { recall, layer, scope, whole } = figuresOf(own);
    const found = recall.of === 0 ? `${whole.right} of ${whole.of} healthy` : `${recall.right} of ${recall.of}`;
    return `| ${name} | ${own.length} | ${found} | ${layer.right} | ${scope.right} | ${whole.right} |`;
  });
  const wrong = differences(trials);
  return `# How right the verdicts are

${setting}

A verdict counts as wholly right when its status, layer, causes (code and accused node), what is located without a cause,
the broken nodes that its scope names, the risks and what was not checked are as the fault's own file says, and nothing
else is accused. A fault that no check knows has to be located. Recall and precision count causes.

## Bars

| bar | measured | |
| --- | --- | --- |
${bars(trials)
  .map(({ bar, is, reached }) => `| ${bar} | ${is} | ${reached ? 'reached' : '**missed**'} |`)
  .join('\n')}

## Figures

| trials | n | recall | precision | layer | scope | wholly right | median seconds |
| --- | --- | --- | --- | --- | --- | --- | --- |
${rows.join('\n')}

## What was wrong

${wrong.length === 0 ? 'Nothing.' : wrong.join('\n')}

## Confusion

Each cause that had to be said against the one that was; combinations that did not occur are left out.

| should be said | was said | times |
| --- | --- | --- |
${confusion(trials)
  .map(({ should, said, n }) => `| ${should} | ${said} | ${n} |`)
  .join('\n')}

## Each fault alone

| fault | n | found | right layer | right scope | wholly right |
| --- | --- | --- | --- | --- | --- |
${each.join('\n')}
`;
}
