import { expect, test } from 'vitest';
import { readVerdict } from '../../test/verdicts.ts';
import { compareDigests, issuesOf, trendPointOf } from './compare-digests.ts';
import type { DigestFacts } from './digest.ts';
import type { Verdict, VerdictFinding } from './verdict.ts';

const healthy = readVerdict('healthy');
const broken = readVerdict('ip-forward-off');
const [cause] = broken.causes as [VerdictFinding];
const otherCause: VerdictFinding = { ...cause, entity: { kind: 'Node', name: 'node-5' }, summary: 'node-5 as well' };
const onService: VerdictFinding = {
  ...cause,
  code: 'no-endpoints',
  entity: { kind: 'Service', namespace: 'default', name: 'web' },
};
const gap = (where: string) => ({ what: 'everything that is read on the node', where, reason: 'the agent did not answer' });

/** What the next digest gets to compare with. */
function factsOf(verdict: Verdict, at: number, previous: DigestFacts | null = null): DigestFacts {
  const { issues, cut } = compareDigests(previous, verdict, at);
  return { at, run: 'r1', status: verdict.status, reason: null, issues, cut, auditSeq: 0, p95Ms: null };
}

/** What changed, by the ends of the keys. */
function changesOf(previous: DigestFacts | null, verdict: Verdict, at = 1_000) {
  const { changes } = compareDigests(previous, verdict, at);
  const keys = (issues: typeof changes.fresh) =>
    issues.map(({ key, kind, since }) => `${kind} ${key.split(' ').slice(1).join(' ')} ${since}`);
  return { fresh: keys(changes.fresh), resolved: keys(changes.resolved), open: keys(changes.open), unseen: keys(changes.unseen) };
}

const nothing = { fresh: [], resolved: [], open: [], unseen: [] };
const known = 'cause ip-forward-off Node:node-2';

test('the first digest has everything new; healthy has nothing', () => {
  expect([changesOf(null, healthy), changesOf(null, broken)]).toEqual([nothing, { ...nothing, fresh: [`${known} 1000`] }]);
});

test('what was there before is still open since then, what is gone is resolved, what came is new', () => {
  const before = factsOf(broken, 500);
  expect(changesOf(before, { ...broken, causes: [...broken.causes, otherCause] })).toEqual({
    ...nothing,
    fresh: ['cause ip-forward-off Node:node-5 1000'],
    open: [`${known} 500`],
  });
  expect(changesOf(before, healthy)).toEqual({ ...nothing, resolved: [`${known} 500`] });
  // Over two digests the beginning stays the same.
  expect(changesOf(factsOf(broken, 700, before), broken).open).toEqual([`${known} 500`]);
});

test.each([
  ['on its own node', 'node-2', true],
  ['among several nodes', 'node-1, node-2', true],
  ['on another node', 'node-3', false],
  ['in the API server', 'Kubernetes API', true],
  ['in the cluster', 'cluster', true],
])('what is gone while something was not checked %s', (_name, where, isHidden) => {
  const { resolved, unseen } = changesOf(factsOf(broken, 500), { ...healthy, status: 'inconclusive', notChecked: [gap(where)] });
  expect([resolved, unseen]).toEqual(isHidden ? [[], [`${known} 500`]] : [[`${known} 500`], []]);
});

test('what is read on no node may be hidden by any gap, and so may a fault of which only the place was known', () => {
  const located = readVerdict('vxlan-blocked');
  const service = { ...broken, causes: [onService] };
  const blind: Verdict = { ...healthy, status: 'inconclusive', notChecked: [gap('node-6')] };
  for (const verdict of [
    service,
    {
      ...located,
      causes: [],
      located: [
        {
          segment: 'x',
          layer: 'L3' as const,
          class: 'y',
          direction: 'both' as const,
          lossPercent: 100,
          symptoms: [],
          evidence: [],
          next: '',
        },
      ],
    },
  ]) {
    const { resolved, unseen } = changesOf(factsOf(verdict, 500), blind);
    expect([resolved, unseen.length > 0]).toEqual([[], true]);
  }
});

test('what is not known any more is carried on until it is seen again, or its place is', () => {
  const blind: Verdict = { ...healthy, status: 'inconclusive', notChecked: [gap('node-2')] };
  const unseen = factsOf(blind, 600, factsOf(broken, 500));
  expect(unseen.issues.map(({ key, unseen: hidden, since }) => [key.split(' ')[0], hidden, since])).toEqual([
    ['gap', false, 600],
    ['finding', true, 500],
  ]);
  expect(changesOf(unseen, broken)).toMatchObject({ open: [`${known} 500`], fresh: [] });
  expect(changesOf(unseen, healthy).resolved).toContain(`${known} 500`);
});

test('a risk that becomes a cause is new, and so is a cause that is left as a risk', () => {
  const risky: Verdict = { ...healthy, risks: [cause] };
  expect(changesOf(factsOf(risky, 500), broken)).toEqual({ ...nothing, fresh: [`${known} 1000`] });
  expect(changesOf(factsOf(broken, 500), risky)).toEqual({ ...nothing, fresh: ['risk ip-forward-off Node:node-2 1000'] });
});

test('where there is more than is kept, nothing is called resolved', () => {
  const many = { ...broken, risks: Array.from({ length: 900 }, (_, index) => ({ ...cause, code: `risk-${index}` })) };
  const { issues, cut } = issuesOf(many, 1);
  expect([issues.length, cut, issues[0]?.kind]).toEqual([400, true, 'cause']);
  expect(changesOf(factsOf(many, 500), healthy)).toMatchObject({ resolved: [], fresh: [] });
  expect(JSON.stringify(factsOf(many, 500)).length).toBeLessThan(300_000);
});

test('the point in the trend is of pods where they were probed', () => {
  const plane = { of: 'nodes' as const, ways: 2, lossy: 0, unknown: 0, medianMs: 1, p95Ms: 2, cells: [] };
  const mesh = { groups: [], planes: [plane, { ...plane, of: 'pods' as const, medianMs: 3, p95Ms: 4 }] };
  expect([trendPointOf({ ...broken, mesh }, 7), trendPointOf(healthy, 8)]).toEqual([
    { at: 7, status: 'failed', failed: broken.symptoms.length, medianMs: 3, p95Ms: 4 },
    { at: 8, status: 'healthy', failed: 0, medianMs: null, p95Ms: null },
  ]);
});
