import { expect, test } from 'vitest';
import { simulate } from '../../test/simulate.ts';
import type { Finding } from '../model/finding.ts';
import type { Probe, ProbeResult } from '../model/probe.ts';
import type { DnsPair } from '../model/wire/agent.ts';
import { classify } from './classify.ts';
import { chooseFocus, nodesToAsk, planFocus } from './plan.ts';
import { reconcile } from './reconcile.ts';
import { probeResults } from './results.ts';
import { describeSegments } from './segments.ts';
import { createTracer } from './trace.ts';

/* Queries that are sent two at once: from what the agent says to what the verdict makes of it. */

const cluster = simulate(2);
const found = cluster.probes.find(({ method, from }) => method === 'dns-pair' && from.node === 'node-2');
if (found === undefined) throw new Error('no pairs are planned');
const probe: Probe = found;

const whole: DnsPair = { a: 1, aaaa: 3, again: false, error: '' };
const late: DnsPair = { a: 1, aaaa: 2004, again: true, error: '' };
const half: DnsPair = { a: null, aaaa: 2, again: true, error: '' };
const none: DnsPair = { a: null, aaaa: null, again: false, error: '' };

function resultOf(pairs: readonly DnsPair[]): ProbeResult | undefined {
  const stdout = JSON.stringify([{ id: '0', pairs }]);
  const item = { argv: ['dns-pairs'], exitCode: 0, stdout, stderr: '', truncated: false, startedMs: 0, durationMs: 0 };
  const evidence = new Map([['node-2', { node: 'node-2', items: { 'dns pairs pod round 1': item } }]]);
  return probeResults([probe], evidence, () => '0').get(probe.id);
}

test('every pair whole', () => {
  expect(resultOf([whole, whole, { ...whole, aaaa: 8 }])).toEqual({
    probe: probe.id,
    status: 'pass',
    sent: 6,
    delivered: 6,
    how: 'ok',
    rtt: { min: 3, avg: 4.67, max: 8 },
  });
});

test('one query of a pair late, or never answered; a pair without any answer does not count', () => {
  expect(resultOf([whole, late, half, none])).toEqual({
    probe: probe.id,
    status: 'fail',
    sent: 6,
    delivered: 4,
    how: 'half-answered',
    detail: 'of 3 pairs of queries 2 had one answer only, 1 of them the other when it was asked for again',
  });
  expect(resultOf([whole, none])).toMatchObject({ status: 'pass', sent: 2, delivered: 2 });
});

test('no answer at all, with what the kernel said of it', () => {
  const failed = { probe: probe.id, status: 'fail', sent: 4, delivered: 0, how: 'timeout' };
  expect(resultOf([none, none])).toEqual({ ...failed, detail: 'no answer to 4 queries' });
  const refused = { ...none, error: 'socat: read: Connection refused\n' };
  expect(resultOf([none, refused])).toEqual({
    ...failed,
    detail: 'no answer to 4 queries, socat: read: Connection refused',
  });
  expect(resultOf([])).toMatchObject({ status: 'unknown' });
});

/** What becomes of all probes when the pairs of node-2 end so, and single queries of its pod to the Service as told. */
function judged(pairs: readonly DnsPair[], single: Partial<ProbeResult> = {}) {
  const results = new Map(cluster.results([]));
  const own = resultOf(pairs);
  if (own !== undefined) results.set(probe.id, own);
  const sibling = results.get(probe.sibling ?? '');
  if (sibling !== undefined) results.set(sibling.probe, { ...sibling, ...single });
  return classify(cluster.probes, results);
}

const meaningOf = (items: ReturnType<typeof judged>) => items.find((item) => item.probe.id === probe.id)?.meaning;

test('without any answer it is the matter of single queries, unless those are answered', () => {
  const silent = { status: 'fail', how: 'timeout', delivered: 0 } as const;
  expect([
    meaningOf(judged([whole])),
    meaningOf(judged([whole, half])),
    meaningOf(judged([half, half])),
    meaningOf(judged([none])),
    meaningOf(judged([none], silent)),
  ]).toEqual(['pass', 'lossy', 'lossy', 'fail', 'moot']);
});

test('half answers are measured again with forty pairs', () => {
  const items = judged([whole, half]);
  const focus = chooseFocus(items, new Set(['node-1', 'node-2']));
  const { nodes } = nodesToAsk(cluster.inventory);
  const again = focus === null ? [] : planFocus(focus, items, cluster.inventory, nodes, new Map());
  expect(again.map(({ id, count, repeats, every }) => ({ id, count, repeats, every }))).toEqual([
    { id: `${probe.id} x40`, count: 40, repeats: probe.id, every: true },
  ]);
});

const finding = (more: Partial<Finding>): Finding => ({
  code: 'found',
  check: 'found',
  layer: 'L4',
  entity: { kind: 'Node', name: 'node-2' },
  severity: 'critical',
  certainty: 'certain',
  partial: false,
  at: [{ place: 'node/node-2', point: 'postrouting' }],
  harms: [{ state: 'new' }],
  summary: 'found',
  evidence: [],
  ...more,
});

function verdictOn(findings: readonly Finding[]) {
  const trace = createTracer(cluster.pathsOf);
  const { symptoms, causes, segments } = reconcile(
    { findings, acquitted: [] },
    judged(Array.from({ length: 10 }, () => half)),
    cluster.view,
    trace,
  );
  return {
    symptoms: symptoms.map((symptom) => symptom.probe.id),
    causes: causes.length,
    located: describeSegments(segments, cluster.view).map(({ segment, layer, class: packets, next }) => [
      segment,
      layer,
      packets,
      next,
    ]),
  };
}

test('half answers are explained by what loses some new connections, not by what stops them all; else they are located', () => {
  const located = [
    [
      'between node-2 and the pod netcheck-agents/netcheck-probe-2',
      'L4',
      'only UDP port 53',
      expect.stringMatching(/single-request-reopen/),
    ],
  ];
  expect([
    verdictOn([finding({ partial: 'flows', certainty: 'suspect' })]),
    verdictOn([finding({ at: [{ place: 'pod/kube-system/coredns-1' }], harms: [{}] })]),
    verdictOn([]),
  ]).toEqual([
    { symptoms: [probe.id], causes: 1, located: [] },
    { symptoms: [probe.id], causes: 0, located },
    { symptoms: [probe.id], causes: 0, located },
  ]);
});
