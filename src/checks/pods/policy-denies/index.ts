import { z } from 'zod';
import { type Entity, entityName } from '../../../model/entity.ts';
import { podPlace } from '../../../model/hop.ts';
import type { LabelSelector, NetworkPolicy, PolicyPeer, PolicyRule } from '../../../model/inventory.ts';
import { type Draft, defineCheck, ok, type Probed } from '../../kit/check.ts';

type Denied = { readonly policy: NetworkPolicy; readonly probed: readonly Probed[] };

/** P9, as the probes saw it. Source: kubernetes.io, "Network Policies". */
export const policyDenies = defineCheck({
  id: 'policy-denies',
  row: 'P9',
  layer: 'L4',
  scope: 'cluster',
  title: 'A NetworkPolicy denies what was probed, or is not enforced',
  why: 'What a policy denies looks like a broken network to whoever does not know of it; one that nobody enforces protects nothing.',
  codes: {
    'policy-denies': 'Probes failed that a NetworkPolicy denies: this is no fault.',
    'policy-not-enforced': 'All connections got through that a NetworkPolicy denies.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory, probed }) => {
    // Whether policies hold for ping is up to whoever enforces them.
    const denied = probed.filter(
      ({ probe, result }) => probe.expect === 'deny' && probe.method !== 'ping' && result.status !== 'unknown',
    );
    return [...Map.groupBy(denied, ({ probe }) => probe.deniedBy ?? '')].flatMap(([name, group]) => {
      const policy = inventory.policies.find((candidate) => `${candidate.namespace}/${candidate.name}` === name);
      return policy === undefined ? [] : [describe({ policy, probed: group })];
    });
  },
});

function describe({ policy, probed }: Denied): Draft {
  const entity: Entity = { kind: 'NetworkPolicy', namespace: policy.namespace, name: policy.name };
  const stopped = probed.filter(({ result }) => result.delivered === 0);
  const ways = (list: readonly Probed[]): string => {
    const texts = [...new Set(list.map(({ probe }) => `${entityName(probe.subject)} to ${entityName(probe.target)}`))].sort();
    return texts.length > SHOWN ? `${texts.slice(0, SHOWN).join(', ')} and ${texts.length - SHOWN} more` : texts.join(', ');
  };
  const rules = [
    ...(policy.ingress === null ? [] : [`ingress: ${rulesText(policy.ingress, 'from')}`]),
    ...(policy.egress === null ? [] : [`egress: ${rulesText(policy.egress, 'to')}`]),
  ].join('; ');
  const evidence = [{ where: 'Kubernetes API', source: `NetworkPolicy ${entityName(entity)}`, text: rules }];
  if (stopped.length > 0) {
    return {
      code: 'policy-denies',
      entity,
      severity: 'info',
      at: [],
      harms: [],
      summary: `the NetworkPolicy ${entityName(entity)} denies ${ways(stopped)}: these probes failed as it says, and say nothing of the network (${rules})`,
      advice: 'If this traffic is wanted, add a rule that allows it.',
      evidence,
    };
  }
  return {
    code: 'policy-not-enforced',
    entity,
    severity: 'warning',
    at: [
      ...new Set(
        probed.flatMap(({ probe: { target } }) =>
          target.namespace === undefined ? [] : [podPlace(target.namespace, target.name)],
        ),
      ),
    ].map((place) => ({ place, point: 'input' })),
    harms: [],
    summary: `the NetworkPolicy ${entityName(entity)} denies ${ways(probed)}, and every connection got through: nothing enforces it (${rules})`,
    advice: 'The CNI plugin has to enforce policies; flannel alone does not. Until then the policy protects nothing.',
    evidence,
  };
}

const SHOWN = 3;

function rulesText(rules: readonly PolicyRule[], word: 'from' | 'to'): string {
  if (rules.length === 0) return 'allows nothing';
  return `allows ${rules.map(({ ports, peers }) => `${portsText(ports)} ${word} ${peers.length === 0 ? 'anybody' : peers.map(peerText).join(' or ')}`).join(', ')}`;
}

function portsText(ports: PolicyRule['ports']): string {
  if (ports.length === 0) return 'everything';
  return ports
    .map(({ protocol, port, endPort }) => `${protocol}${port === null ? '' : ` ${port}`}${endPort === null ? '' : `-${endPort}`}`)
    .join(', ');
}

function peerText({ podSelector, namespaceSelector, ipBlock }: PolicyPeer): string {
  if (ipBlock !== undefined) return `${ipBlock.cidr}${ipBlock.except.length === 0 ? '' : ` but ${ipBlock.except.join(', ')}`}`;
  return [
    ...(podSelector === undefined ? ['every pod'] : [selectorText(podSelector, 'pod')]),
    namespaceSelector === undefined ? 'its own namespace' : selectorText(namespaceSelector, 'namespace'),
  ].join(' of ');
}

function selectorText(selector: LabelSelector, what: 'pod' | 'namespace'): string {
  const labels = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => `${key}=${value}`);
  const expressions = (selector.matchExpressions ?? []).map(
    ({ key, operator, values }) => `${key} ${operator}${values === undefined ? '' : ` (${values.join(', ')})`}`,
  );
  const terms = [...labels, ...expressions];
  return terms.length === 0 ? `every ${what}` : `${what}s with ${terms.join(', ')}`;
}
