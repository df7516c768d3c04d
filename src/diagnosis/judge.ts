import { CHECKS } from '../checks/index.ts';
import type { Probed } from '../checks/kit/check.ts';
import { firstIPv4 } from '../checks/kit/cidr.ts';
import { parseLinks } from '../checks/kit/links.ts';
import { type NodeNetwork, nodeNetwork } from '../checks/kit/node-network.ts';
import { ADDRESSES } from '../checks/kit/readings.ts';
import { createPaths } from '../dataplane/paths.ts';
import { createView, type View } from '../dataplane/view.ts';
import type { Bundle } from '../model/bundle.ts';
import type { NodeEvidence } from '../model/evidence.ts';
import type { Finding } from '../model/finding.ts';
import type { Inventory } from '../model/inventory.ts';
import { LAYERS, type Layer, lowestLayer } from '../model/layer.ts';
import type { Probe } from '../model/probe.ts';
import type { LayerState, NotChecked, Status, Verdict, VerdictFinding } from '../model/verdict.ts';
import { classify, type Judged } from './classify.ts';
import { detect } from './detect.ts';
import { evaluate, parseNode } from './evaluate.ts';
import { meshOf } from './mesh.ts';
import { findingKey, type Reconciled, reconcile } from './reconcile.ts';
import { probeResults } from './results.ts';
import { createSymptomDirection, scopeOf } from './scope.ts';
import { describeSegments } from './segments.ts';
import { createTracer } from './trace.ts';
import { counted, sortNames } from './words.ts';

/**
 * The verdict on a bundle: parse, evaluate, reconcile, put into words. Pure, so that the same bundle gives the same
 * verdict, byte for byte, live and in a replay.
 */
export function judge(bundle: Bundle): Verdict {
  const { inventory, plan, evidence } = bundle;
  const byNode = new Map(evidence.map((node) => [node.node, node]));
  const results = probeResults(plan.probes, byNode, tagsOf(plan.probes));
  const judged = classify(plan.probes, results);
  const probed: readonly Probed[] = judged.map(({ probe, result }) => ({ probe, result }));
  const checks = Object.values(CHECKS).filter((check) => plan.checks.includes(check.id));
  const evaluation = evaluate(checks, evidence, inventory, probed);
  const view = createView(inventory, networksOf(inventory, evidence));
  const tracer = createTracer(createPaths(view));
  const found = reconcile(evaluation, judged, view, tracer);
  const notChecked = [
    ...plan.omitted,
    ...inventoryGaps(inventory),
    ...agentGaps(evidence),
    ...grouped(evaluation.gaps),
    ...probeGaps(judged, byNode),
  ];
  return compose(bundle, found, judged, view, notChecked);
}

/** The mark of each probe in what agents send: its place in the plan. */
export function tagsOf(probes: readonly Probe[]): (probe: Probe) => string {
  const tags = new Map(probes.map((probe, index) => [probe.id, String(index)]));
  return (probe) => tags.get(probe.id) ?? probe.id;
}

/** The devices of every node whose addresses were read. */
export function networksOf(inventory: Inventory, evidence: readonly NodeEvidence[]): ReadonlyMap<string, NodeNetwork> {
  const reader = {
    collect: { links: ADDRESSES },
    parse: ({ links }: { links: Parameters<typeof parseLinks>[0] }) => parseLinks(links),
  };
  const networks = new Map<string, NodeNetwork>();
  for (const item of evidence) {
    const node = inventory.nodes.find(({ name }) => name === item.node);
    const links = parseNode(reader, item);
    if (node !== undefined && links.outcome === 'ok') networks.set(node.name, nodeNetwork(node, links.facts));
  }
  return networks;
}

function compose(
  bundle: Bundle,
  found: Reconciled,
  judged: readonly Judged[],
  view: View,
  notChecked: readonly NotChecked[],
): Verdict {
  const { causes, segments, symptoms, risks } = found;
  const located = describeSegments(segments, view);
  const scope = scopeOf(
    symptoms,
    judged,
    bundle.inventory,
    causes.map(({ explains }) => explains),
  );
  const status = statusOf(symptoms, judged, view, notChecked);
  const layer = lowestLayer([...causes.map(({ finding }) => finding.layer), ...located.map((item) => item.layer)]);
  const directionOf = createSymptomDirection(judged);
  const explainedBy = new Map<Judged, string[]>();
  for (const { finding, explains } of causes) {
    for (const symptom of explains) explainedBy.set(symptom, [...(explainedBy.get(symptom) ?? []), findingKey(finding)]);
  }
  const passed = judged.filter(({ meaning }) => meaning === 'pass').length;
  const checked = {
    nodes: bundle.evidence.filter((node) => node.fault === undefined).length,
    checks: bundle.plan.checks.length,
    probes: judged.filter(({ meaning }) => meaning !== 'moot').length,
    passed,
    expectedDenied: judged.filter(({ meaning }) => meaning === 'denied').length,
    missedLossPercent: missedLoss(judged),
  };
  const mesh = meshOf(bundle, judged);
  const verdict: Omit<Verdict, 'headline'> = {
    schema: 'netcheck.verdict/v1',
    run: bundle.run,
    status,
    layer,
    scope: status === 'failed' || status === 'degraded' ? scope : { ...scope, sentence: '' },
    causes: causes.map(({ finding, explains }) => shown(finding, explains)),
    alternatives: found.alternatives.map((set) => [...set]),
    located: [...located],
    symptoms: symptoms.map((symptom) => ({
      id: symptom.probe.id,
      layer: symptomLayer(symptom),
      subject: symptom.probe.subject,
      target: symptom.probe.target,
      direction: directionOf(symptom),
      result: {
        how: symptom.result.how ?? 'timeout',
        sent: symptom.result.sent,
        delivered: symptom.result.delivered,
        ...detailOf(symptom),
      },
      explainedBy: explainedBy.get(symptom) ?? [],
    })),
    risks: risks.map((finding) => shown(finding, [])),
    layers: layerStates(judged, causes.map(({ finding }) => finding.layer).concat(located.map((item) => item.layer))),
    checked,
    notChecked: [...notChecked],
    ...(mesh === undefined ? {} : { mesh }),
    detected: detect(bundle.inventory, bundle.evidence, view),
  };
  return { ...verdict, headline: headlineOf(verdict) };
}

function shown(
  { check, code, layer, entity, severity, summary, advice, evidence, remedy, moreRemedies }: Finding,
  explains: readonly Judged[],
): VerdictFinding {
  return {
    code,
    check,
    layer,
    entity,
    severity,
    summary,
    ...(advice === undefined ? {} : { advice }),
    evidence,
    explains: explains.map(({ probe }) => probe.id),
    ...(remedy === undefined ? {} : { remedy }),
    ...(moreRemedies === undefined ? {} : { moreRemedies }),
  };
}

function statusOf(symptoms: readonly Judged[], judged: readonly Judged[], view: View, notChecked: readonly NotChecked[]): Status {
  if (symptoms.length === 0) return notChecked.length === 0 && judged.length > 0 ? 'healthy' : 'inconclusive';
  return symptoms.every(
    (symptom) => symptom.meaning === 'lossy' || symptom.meaning === 'recovered' || isRedundant(symptom, judged, view),
  )
    ? 'degraded'
    : 'failed';
}

/**
 * Whether a failure costs redundancy only: its target is one of several that stand in for each other, as the endpoints of a
 * Service, or that Service, and the same subject reached another of them in the same way.
 */
function isRedundant({ probe }: Judged, judged: readonly Judged[], view: View): boolean {
  const { endpoints } = view.inventory;
  const { group, from } = probe;
  if (group !== undefined)
    return judged.some(
      ({ probe: other, meaning }) =>
        meaning === 'pass' && other.group === group && other.from.node === from.node && other.from.pod === from.pod,
    );
  const nameOf = (endpoint: { readonly namespace: string; readonly service: string }): string =>
    `${endpoint.namespace}/${endpoint.service}`;
  const service = view.serviceByAddress(probe.to.ip);
  const services =
    service === undefined
      ? endpoints.filter(({ ip }) => ip === probe.to.ip).map(nameOf)
      : [`${service.namespace}/${service.name}`];
  const members = new Set(endpoints.filter((endpoint) => services.includes(nameOf(endpoint))).map(({ ip }) => ip));
  const asked = judged.filter(
    (other) => members.has(other.probe.to.ip) && other.probe.method === probe.method && other.probe.from.node === probe.from.node,
  );
  const reached = new Set(asked.filter(({ meaning }) => meaning === 'pass').map((other) => other.probe.to.ip));
  const failed = asked.filter(({ meaning }) => meaning === 'fail' || meaning === 'error').map((other) => other.probe.to.ip);
  // The Service itself is redundant only where the failure is that of one of its endpoints, and another one is reached.
  return (service === undefined ? [probe.to.ip] : failed).some((ip) => [...reached].some((other) => other !== ip));
}

function symptomLayer({ probe, result }: Judged): Layer {
  if (probe.method !== 'http' && probe.method !== 'tls') return probe.layer;
  return result.how === 'http-error' || result.how === 'tls-error' ? 'L7' : 'L4';
}

/**
 * `fail`: a cause or a located fault is there. `ok`: probes of the layer passed, and those that did not are accounted for
 * by another layer. `unknown`: there were probes, and none passed.
 */
function layerStates(judged: readonly Judged[], failing: readonly Layer[]): Verdict['layers'] {
  const states: Partial<Record<Layer, LayerState>> = {};
  for (const layer of LAYERS) {
    // A packet that goes through shows that the link below works.
    const probes = judged.filter(({ probe }) => probe.layer === layer || (layer === 'L2' && probe.layer === 'L3'));
    if (failing.includes(layer)) states[layer] = 'fail';
    else if (probes.length === 0) states[layer] = 'not-checked';
    else states[layer] = probes.some(({ meaning }) => meaning === 'pass') ? 'ok' : 'unknown';
  }
  return states as Verdict['layers'];
}

/** The smallest steady loss, in percent, that the packets of the least probed pair of nodes would have shown, 19 times of 20. */
function missedLoss(judged: readonly Judged[]): number | null {
  const packets = new Map<string, number>();
  for (const { probe, result, meaning } of judged) {
    if (meaning !== 'pass' || probe.to.node === null || probe.to.node === probe.from.node) continue;
    const key = [probe.from.node, probe.to.node].sort().join(' ');
    packets.set(key, (packets.get(key) ?? 0) + result.sent);
  }
  if (packets.size === 0) return null;
  const fewest = Math.min(...packets.values());
  return Math.round(1000 * (1 - 0.05 ** (1 / fewest))) / 10;
}

function headlineOf(verdict: Omit<Verdict, 'headline'>): string {
  const { status, layer, scope, checked, notChecked } = verdict;
  if (status === 'healthy')
    return `The network is healthy: ${counted(checked.nodes, 'node')}, ${counted(checked.probes, 'probe')}, every one as it should be.`;
  if (status === 'inconclusive') {
    const [first] = notChecked;
    const why = first === undefined ? 'there was nothing to probe' : `${first.what} on ${first.where}: ${first.reason}`;
    return `No fault was found, but not everything could be checked (${why}).`;
  }
  return `${layer === null ? '' : `${layer}: `}${scope.sentence}.`;
}

function inventoryGaps(inventory: Inventory): readonly NotChecked[] {
  return inventory.gaps.map(({ what, reason }) => ({ what, where: 'Kubernetes API', reason }));
}

function agentGaps(evidence: readonly NodeEvidence[]): readonly NotChecked[] {
  return evidence.flatMap(({ node, fault, items }) => {
    if (fault === undefined) return [];
    const what = Object.keys(items).length === 0 ? 'everything that is read on the node' : 'part of what is read on the node';
    return [{ what, where: node, reason: fault.message }];
  });
}

/** The same gap on several nodes is one line. */
function grouped(gaps: readonly NotChecked[]): readonly NotChecked[] {
  return [...Map.groupBy(gaps, ({ what, reason }) => `${what}\n${reason}`).values()].map((group) => ({
    what: group[0]?.what ?? '',
    where: sortNames(group.map(({ where }) => where)).join(', '),
    reason: group[0]?.reason ?? '',
  }));
}

/** Probes without complete evidence, told by kind; those of a node whose agent failed are told with the agent. */
function probeGaps(judged: readonly Judged[], evidence: ReadonlyMap<string, NodeEvidence>): readonly NotChecked[] {
  const isTold = (node: string | undefined): boolean => node !== undefined && evidence.get(node)?.fault !== undefined;
  const unknown = judged.filter(
    ({ probe, meaning }) => meaning === 'unknown' && !isTold(probe.from.node) && !isTold(probe.receiver),
  );
  return [...Map.groupBy(unknown, ({ probe, result }) => `${probe.check}\n${result.detail ?? ''}`).values()].map((group) => ({
    what: `${group[0]?.probe.check ?? ''} (${counted(group.length, 'probe')})`,
    where: sortNames(group.map(({ probe }) => probe.from.node)).join(', '),
    reason: group[0]?.result.detail ?? '',
  }));
}

/** What a probe said of its failure; that it passed when it was repeated belongs to it. */
function detailOf({ result: { detail }, meaning }: Judged): { readonly detail?: string } {
  if (detail === undefined) return {};
  return { detail: meaning === 'recovered' ? `${detail}; answered when it was asked again` : detail };
}

/** IPv6 pod networks are not probed yet; saying so is part of the plan. */
export function unprobedFamilies(inventory: Inventory): readonly NotChecked[] {
  const dual = inventory.nodes.filter(({ podCIDRs }) => podCIDRs.some((block) => block.includes(':')));
  const only6 = dual.filter(({ podCIDRs }) => firstIPv4(podCIDRs) === null);
  if (dual.length === 0) return [];
  const where =
    only6.length === inventory.nodes.length ? 'the whole pod network' : `the IPv6 pod network of ${counted(dual.length, 'node')}`;
  return [{ what: 'IPv6', where, reason: 'IPv6 pod networks are not probed' }];
}
