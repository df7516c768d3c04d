import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hopsOf, type SimulatedFault, simulate } from '../../test/simulate.ts';
import type { Finding } from '../model/finding.ts';
import type { HopPattern } from '../model/hop.ts';
import type { PacketMatch } from '../model/packet.ts';
import { classify } from './classify.ts';
import { createHarmsStep } from './explain.ts';
import { chooseFocus } from './plan.ts';
import { reconcile } from './reconcile.ts';
import { scopeOf } from './scope.ts';
import { describeSegments } from './segments.ts';
import { createTracer } from './trace.ts';

const cluster = simulate(4);
const harmsStep = createHarmsStep();

function finding(
  code: string,
  at: readonly HopPattern[],
  harms: readonly PacketMatch[] = [{}],
  more: Partial<Finding> = {},
): Finding {
  return {
    code,
    check: code,
    layer: 'L3',
    entity: { kind: 'Node', name: at[0]?.place ?? '' },
    severity: 'critical',
    certainty: 'certain',
    partial: false,
    at: [...at],
    harms: [...harms],
    summary: code,
    evidence: [],
    ...more,
  };
}

function faultOf(...findings: readonly Finding[]): SimulatedFault {
  return { eats: (step) => findings.some((item) => harmsStep(item, step)) };
}

function judge(
  faults: readonly SimulatedFault[],
  findings: readonly Finding[],
  of = cluster,
  acquitted: readonly HopPattern[] = [],
) {
  const judged = classify(of.probes, of.results(faults));
  return { judged, ...reconcile({ findings, acquitted }, judged, of.view, createTracer(of.pathsOf)) };
}

function codes(items: readonly { readonly finding: Finding }[]): readonly string[] {
  return items.map((item) => item.finding.code);
}

const forwarding = finding('forwarding', [{ place: 'node/node-3', point: 'forwarding' }]);
const fdb = finding('fdb', [{ place: 'node/node-1', point: 'fdb', via: '10.28.0.12' }]);
const blocked = finding(
  'blocked',
  [{ place: 'net', point: 'wire', via: 'node/node-2>node/node-3' }],
  [{ proto: 'udp', dport: 8472 }],
  { certainty: 'inferred' },
);

test('without a fault there is neither symptom nor cause, and a harmless finding is a risk', () => {
  const { symptoms, causes, risks, segments } = judge([], [forwarding]);
  expect({ symptoms, causes, segments, risks }).toEqual({ symptoms: [], causes: [], segments: [], risks: [forwarding] });
});

test('a finding that explains every symptom is the cause, and nothing is left to locate', () => {
  const { causes, risks, segments } = judge([faultOf(forwarding)], [forwarding, fdb]);
  expect(codes(causes)).toEqual(['forwarding']);
  expect(risks).toEqual([fdb]);
  expect(segments).toEqual([]);
});

test('two faults on two nodes are both causes, each with its own symptoms', () => {
  const { causes, alternatives, segments } = judge([faultOf(forwarding, fdb)], [forwarding, fdb]);
  expect(codes(causes)).toEqual(['forwarding', 'fdb']);
  expect(alternatives).toEqual([]);
  expect(segments).toEqual([]);
});

test('a success of the same class over the same hop contradicts a finding', () => {
  const rumour = finding('rumour', [{ place: 'node/node-1', point: 'output' }], [{ proto: 'icmp' }]);
  const { causes, risks } = judge([faultOf(fdb)], [rumour, fdb]);
  expect(codes(causes)).toEqual(['fdb']);
  expect(risks).toEqual([rumour]);
});

test('an answer of one of several endpoints contradicts only what would have stopped each of them', () => {
  const backs = ['10.28.0.11', '10.28.0.12'].map((src) => ({ src }));
  const filter = (...harms: readonly PacketMatch[]): Finding =>
    finding('filter', [{ place: 'node/node-4', point: 'rp-filter', dev: 'eth0' }], harms);
  // CoreDNS is on the first two nodes: what comes back from the other one passes the same hop.
  for (const back of backs) expect(codes(judge([faultOf(filter(back))], [filter(back)]).causes)).toEqual(['filter']);
  const [first = {}] = backs;
  expect(codes(judge([faultOf(filter(first))], [filter(...backs)]).causes)).toEqual([]);
});

test('what was inferred is not told where what was read explains the same', () => {
  const { causes, risks } = judge(
    [faultOf(forwarding)],
    [forwarding, finding('guess', [{ place: 'node/node-3', point: 'forward' }], [{}], { certainty: 'inferred' })],
  );
  expect(codes(causes)).toEqual(['forwarding']);
  expect(risks).toEqual([]);
});

test('two certain findings that each explain everything are both told, as alternatives', () => {
  const rule = finding('rule', [{ place: 'node/node-3', point: 'forward' }]);
  const { causes, alternatives } = judge([faultOf(forwarding, rule)], [forwarding, rule]);
  expect(codes(causes)).toEqual(['forwarding', 'rule']);
  expect(alternatives).toEqual([[0], [1]]);
});

test('a finding that loses whole connections explains the failures among them, and no success contradicts it', () => {
  const eaten = finding('eaten', [{ place: 'node/node-2', point: 'prerouting' }], [{ dst: '10.28.0.12', state: 'new' }]);
  const some = { ...eaten, harms: [{ state: 'new' as const }] };
  // So many in a row are not lost by chance.
  const results: typeof cluster.results = (faults) =>
    new Map(
      [...cluster.results(faults)].map(([id, result]) => [
        id,
        { ...result, sent: result.sent * 10, delivered: result.delivered * 10 },
      ]),
    );
  const codesWith = (partial: Finding['partial']) =>
    codes(judge([faultOf(eaten)], [{ ...some, partial }], { ...cluster, results }).causes);
  expect([codesWith('flows'), codesWith(true), codesWith(false)]).toEqual([['eaten'], [], []]);
});

test('a partial finding explains loss, and no success contradicts it', () => {
  const random = finding('random', [{ place: 'node/node-2', point: 'forward' }], [{}], { partial: true });
  const { causes, segments } = judge([{ eats: (step) => harmsStep(random, step), rate: 0.3 }], [random]);
  expect(codes(causes)).toEqual(['random']);
  expect(segments).toEqual([]);
});

test('what was not read stays suspected beside the wire', () => {
  const [segment] = judge([faultOf(blocked)], []).segments;
  expect(new Set(segment?.hops.map(({ point }) => point))).toEqual(new Set(['route', 'neigh', 'fdb', 'wire']));
});

test('a fault that no finding explains is located between two nodes, with class and measured direction', () => {
  // The tables of node-2 have been read and are right; only the wire is left.
  const read = ['fdb', 'neigh'].map((point) => ({ place: 'node/node-2', point }) as HopPattern);
  const { segments, judged, symptoms } = judge([faultOf(blocked)], [], cluster, read);
  const [located] = describeSegments(segments, cluster.view);
  expect(segments).toHaveLength(1);
  expect(located).toMatchObject({
    segment: "between node-2's eth0 and node-3's eth0 (from node-2 to node-3)",
    class: 'only UDP port 8472',
    layer: 'L4',
    direction: 'outbound',
    lossPercent: 100,
  });
  expect(scopeOf(symptoms, judged, cluster.inventory).sentence).toBe(
    'pods on node-2 cannot reach pods on node-3, in this direction only',
  );
});

test('a node that is cut off and cannot be asked is located at its link, without a direction', () => {
  const silent = simulate(4, ['node-3']);
  const cut = {
    eats: ({ hop }: { hop: { place: string; point: string } }) => hop.place === 'node/node-3' && hop.point === 'port',
  };
  const { segments, judged, symptoms } = judge([cut], [], silent);
  const located = describeSegments(segments, silent.view);
  expect(located).toHaveLength(1);
  expect(located[0]).toMatchObject({
    layer: 'L3',
    class: 'every packet',
    direction: 'undetermined',
    segment: 'between the network and node-3: the link, or node-3 itself',
  });
  expect(scopeOf(symptoms, judged, silent.inventory).sentence).toBe('node-3 cannot reach any other node');
});

test('one lossy wire is found with its rate although most probes over it lose only some packets', () => {
  const wire = { eats: ({ hop }: { hop: { via?: string | undefined } }) => hop.via === 'node/node-2>node/node-3', rate: 0.2 };
  const { segments } = judge([wire], [], simulate(4, [], 100));
  const located = describeSegments(segments, cluster.view);
  expect(located).toHaveLength(1);
  expect(located[0]).toMatchObject({ direction: 'outbound', lossPercent: 20, class: 'every packet' });
});

test('two halves that do not see each other are told in one sentence', () => {
  const left = ['node/node-1', 'node/node-2'];
  const split = {
    eats: ({ hop }: { hop: { point: string; via?: string | undefined } }) => {
      const [a = '', b = ''] = (hop.via ?? '').split('>');
      return hop.point === 'wire' && a.startsWith('node/') && b.startsWith('node/') && left.includes(a) !== left.includes(b);
    },
  };
  const { segments, judged, symptoms } = judge([split], []);
  const located = describeSegments(segments, cluster.view);
  expect(located).toHaveLength(1);
  expect(located[0]).toMatchObject({
    direction: 'both',
    segment: 'in the network between node-1 and node-2 on one side and node-3 and node-4 on the other',
  });
  expect(scopeOf(symptoms, judged, cluster.inventory).sentence).toBe(
    'node-1 and node-2 cannot reach node-3 and node-4, in both directions',
  );
});

test('what the sender itself refuses is located there, and nowhere else on the way', () => {
  const { probes, view, pathsOf } = cluster;
  const results = new Map(cluster.results([]));
  for (const { id, method, from, to } of probes) {
    if (method === 'dns' && from.node === 'node-2' && from.pod === null && to.node !== null)
      results.set(id, { probe: id, status: 'fail', sent: 1, delivered: 0, how: 'refused-locally', detail: 'EPERM after 1 ms' });
  }
  const judged = classify(probes, results);
  const { segments } = reconcile({ findings: [], acquitted: [] }, judged, view, createTracer(pathsOf));
  const hops = segments.flatMap((segment) => segment.hops);
  expect(hops).not.toEqual([]);
  expect(hops.filter(({ place, point }) => place !== 'node/node-2' || !/^(output|route|nat|postrouting)$/.test(point))).toEqual(
    [],
  );
});

test('an exchange that is answered when asked again is told beside what is there still, and located only by itself', () => {
  const { probes, view, pathsOf } = cluster;
  const asked = probes.find(({ method, from }) => method === 'tls' && from.node === 'node-1');
  if (asked === undefined) throw new Error('no TLS exchange is planned');
  const again = { ...asked, id: `${asked.id} x3`, round: 2, repeats: asked.id };
  const judgedWith = (faults: readonly SimulatedFault[]) => {
    const first = cluster.results(faults);
    const passed = { probe: again.id, status: 'pass', sent: 1, delivered: 1, how: 'ok' } as const;
    const silent = { probe: asked.id, status: 'fail', sent: 3, delivered: 0, how: 'timeout' } as const;
    const judged = classify([...probes, again], new Map([...first, [asked.id, silent], [again.id, passed]]));
    const { symptoms, causes, segments } = reconcile(
      { findings: [forwarding], acquitted: [] },
      judged,
      view,
      createTracer(pathsOf),
    );
    return {
      recovered: symptoms.filter(({ meaning }) => meaning === 'recovered').map(({ probe }) => probe.id),
      causes: codes(causes),
      located: segments.flatMap((segment) => segment.symptoms.map(({ probe }) => probe.id)),
    };
  };
  expect(judgedWith([faultOf(forwarding)])).toEqual({ recovered: [again.id], causes: ['forwarding'], located: [] });
  expect(judgedWith([])).toEqual({ recovered: [again.id], causes: [], located: [again.id] });
});

test('queries of which some had no answer are asked again, and what all of them say then counts', () => {
  const { probes } = cluster;
  const asked = probes.find(({ every }) => every === true);
  if (asked === undefined) throw new Error('no queries that stand each for itself are planned');
  const { id, count } = asked;
  const answered = (delivered: number) => ({ probe: id, status: 'fail', sent: count, delivered, how: 'timeout' }) as const;
  const first = classify(probes, new Map([...cluster.results([]), [id, answered(count - 3)]]));
  expect(chooseFocus(first, new Set(['node-1']))?.unanswered.map(({ probe }) => probe.id)).toEqual([id]);
  const again = { ...asked, id: `${id} x${count}`, round: 2, repeats: id };
  const meaningOf = (before: number, after: number) => {
    const status = after === count ? ('pass' as const) : ('fail' as const);
    const results = new Map(cluster.results([]));
    results.set(id, answered(before)).set(again.id, { ...answered(after), probe: again.id, status });
    return classify([...probes, again], results).find(({ probe }) => probe === again)?.meaning;
  };
  expect([meaningOf(count - 3, count), meaningOf(count - 3, count - 4), meaningOf(0, count)]).toEqual([
    'pass',
    'lossy',
    'recovered',
  ]);
});

test('what stops all packets to one endpoint explains that a Service answers some queries only', () => {
  const inside = finding(
    'inside',
    [{ place: 'node/node-2', point: 'bridge', dir: 'in' }],
    [{ dnat: true, state: 'established' }],
  );
  const { symptoms, causes, segments } = judge([faultOf(inside)], [inside]);
  expect(symptoms.map(({ probe, meaning }) => [probe.check, probe.from.node, meaning])).toEqual([
    ['pod-to-service-on-node', 'node-2', 'lossy'],
  ]);
  expect(codes(causes)).toEqual(['inside']);
  expect(segments).toEqual([]);
});

test('a Service that loses what one of its endpoints does is told beside that, and located only by itself', () => {
  const server = {
    eats: ({ hop }: { hop: { place: string; point: string } }) =>
      hop.place === 'pod/kube-system/coredns-2' && hop.point === 'input',
  };
  const located = judge([server], []).segments.flatMap(({ symptoms }) => symptoms.map(({ probe }) => probe.check));
  expect(located).toContain('cluster-dns');
  expect(located).not.toContain('pod-to-service-on-node');
  const inside = finding(
    'inside',
    [{ place: 'node/node-2', point: 'bridge', dir: 'in' }],
    [{ dnat: true, state: 'established' }],
  );
  const [segment, ...others] = judge([faultOf(inside)], []).segments;
  expect(others).toEqual([]);
  expect(segment?.symptoms.map(({ probe }) => probe.check)).toEqual(['pod-to-service-on-node']);
});

test('any single fault at any hop: as a finding it is the only cause; without one the place named contains it', () => {
  const hops = hopsOf(cluster);
  fc.assert(
    fc.property(fc.constantFrom(...hops), (hop) => {
      const truth = finding('truth', [hop]);
      const faults = [faultOf(truth)];
      const known = judge(
        faults,
        [truth, forwarding, fdb].filter(
          (item) => item === truth || !faults[0]?.eats({ hop: { ...hop, ...item.at[0] } as never, packet: {} as never }),
        ),
      );
      expect(codes(known.causes)).toContain('truth');
      expect(known.segments).toEqual([]);
      const blind = judge(faults, []);
      const suspects = blind.segments.flatMap((segment) => segment.hops);
      // The place named lies on the way of every symptom that is attributed to it, and every symptom is attributed.
      // But for a Service that loses some queries because one of its endpoints is cut off, which says nothing of its own.
      const attributed = new Set(blind.segments.flatMap(({ symptoms }) => symptoms.map(({ probe }) => probe.id)));
      const left = blind.symptoms.filter(({ probe }) => !attributed.has(probe.id));
      expect(left.filter(({ probe, meaning }) => probe.every !== true || meaning !== 'lossy')).toEqual([]);
      expect(suspects.map((suspect) => JSON.stringify(suspect))).toContain(JSON.stringify(hop));
    }),
    { numRuns: 60, seed: 20_261_120 },
  );
});
