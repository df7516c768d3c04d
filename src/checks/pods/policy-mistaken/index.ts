import { z } from 'zod';
import type { Entity } from '../../../model/entity.ts';
import type { Inventory, NetworkPolicy, Pod, PolicyRule, Service } from '../../../model/inventory.ts';
import { nearNames } from '../../../model/near-names.ts';
import { own } from '../../../model/own.ts';
import { type Draft, defineCheck, ok } from '../../kit/check.ts';
import { podName } from '../../kit/pods.ts';
import { matchesSelector } from '../../kit/policy.ts';

/** P9, what can be seen in the objects alone. Source: kubernetes.io, "Network Policies". */
export const policyMistaken = defineCheck({
  id: 'policy-mistaken',
  row: 'P9',
  layer: 'L4',
  scope: 'cluster',
  title: 'A NetworkPolicy that cannot mean what it says',
  why: 'What it was to allow is denied, or what it was to protect is open, and the object looks right at first sight.',
  codes: {
    'policy-names-service-port':
      "A policy allows a Service's port, but policies see the pods' own port, which none of them allows: nobody reaches the Service.",
    'policy-selects-nothing': "A policy's podSelector matches no pod, and differs by a few letters from labels that pods have.",
    'policy-peer-matches-nothing': 'A rule names a namespace by a label that no namespace has, though a namespace has that name.',
  },
  params: z.strictObject({}),
  collect: {},
  parse: () => ok(null),
  evaluate: (_facts, { inventory }) => [
    ...inventory.services.flatMap((service) => wrongPorts(service, inventory)),
    ...inventory.policies.flatMap((policy) => [...selectsNothing(policy, inventory), ...strangePeers(policy, inventory)]),
  ],
});

function draft(
  entity: Entity,
  rest: Pick<Draft, 'code' | 'summary' | 'advice' | 'severity'>,
  source: string,
  text: string,
): Draft {
  return { entity, at: [], harms: [], evidence: [{ where: 'Kubernetes API', source, text }], ...rest };
}

/** Pods of a Service to whose target port no policy lets anybody, while one names the port of the Service instead. */
function wrongPorts(service: Service, { pods, policies, endpoints }: Inventory): readonly Draft[] {
  if (Object.keys(service.selector).length === 0) return [];
  const behind = pods.filter(
    (pod) =>
      pod.namespace === service.namespace && !pod.hostNetwork && matchesSelector({ matchLabels: service.selector }, pod.labels),
  );
  return service.ports.flatMap((port) => {
    const target = targetOf(port.targetPort, behind, service, endpoints);
    if (target === null || target === port.port) return [];
    const mixed = behind.flatMap((pod) => {
      const isolating = policies.filter(
        ({ ingress, namespace, podSelector }) =>
          ingress !== null && namespace === pod.namespace && matchesSelector(podSelector, pod.labels),
      );
      const rules = isolating.flatMap((policy) => (policy.ingress ?? []).map((rule) => ({ policy, rule })));
      const isOpen = rules.some(({ rule }) => allows(rule, port.protocol, target));
      const culprit = rules.find(({ rule }) => allows(rule, port.protocol, port.port));
      return isolating.length > 0 && !isOpen && culprit !== undefined ? [{ pod, policy: culprit.policy }] : [];
    });
    const [first] = mixed;
    if (first === undefined) return [];
    const { policy } = first;
    return [
      draft(
        entityOf(policy),
        {
          code: 'policy-names-service-port',
          severity: 'info',
          summary: `the NetworkPolicy ${policy.namespace}/${policy.name} allows ${port.protocol} ${port.port}, the port of the Service ${service.namespace}/${service.name}, but its pods (${podName(first.pod)}${mixed.length > 1 ? ` and ${mixed.length - 1} more` : ''}) take connections on ${target}, which no policy allows`,
          advice: `Name the pods' port in the policy: ${target} instead of ${port.port}.`,
        },
        `NetworkPolicy ${policy.namespace}/${policy.name}; Service ${service.namespace}/${service.name}`,
        `ingress ports ${portsOf(policy)}; port ${port.port}, targetPort ${port.targetPort}`,
      ),
    ];
  });
}

function targetOf(
  targetPort: number | string,
  pods: readonly Pod[],
  service: Service,
  endpoints: Inventory['endpoints'],
): number | null {
  if (typeof targetPort === 'number') return targetPort;
  const named = pods.flatMap(({ ports }) => ports.filter(({ name }) => name === targetPort))[0]?.port;
  return (
    named ??
    endpoints.find((endpoint) => endpoint.namespace === service.namespace && endpoint.service === service.name)?.ports[0]?.port ??
    null
  );
}

/** Whether a rule lets anybody in on a port; one that is named by name may be this one. */
function allows({ ports }: PolicyRule, protocol: string, port: number): boolean {
  return (
    ports.length === 0 ||
    ports.some(
      (candidate) =>
        candidate.protocol === protocol &&
        (candidate.port === null ||
          typeof candidate.port === 'string' ||
          (port >= candidate.port && port <= (candidate.endPort ?? candidate.port))),
    )
  );
}

function portsOf({ ingress }: NetworkPolicy): string {
  return (ingress ?? []).flatMap(({ ports }) => ports.map(({ protocol, port }) => `${protocol} ${port}`)).join(', ') || 'any';
}

/** Only a likely slip is told: a policy for pods that are not there now, a workload scaled to none, is no mistake. */
function selectsNothing(policy: NetworkPolicy, { pods }: Inventory): readonly Draft[] {
  const inside = pods.filter(({ namespace }) => namespace === policy.namespace);
  const wanted = Object.entries(policy.podSelector.matchLabels ?? {});
  if (inside.length === 0 || wanted.length === 0 || inside.some(({ labels }) => matchesSelector(policy.podSelector, labels)))
    return [];
  const slips = wanted.flatMap(([key, value]) => {
    const values = inside.flatMap(({ labels }) => own(labels, key) ?? []);
    if (values.includes(value)) return [];
    const near = nearNames(value, values, 1)[0];
    return near !== undefined && value.length >= MIN_LENGTH && isSlip(value, near) ? [{ key, value, near }] : [];
  });
  const [slip] = slips;
  if (slip === undefined) return [];
  return [
    draft(
      entityOf(policy),
      {
        code: 'policy-selects-nothing',
        severity: 'info',
        summary: `the NetworkPolicy ${policy.namespace}/${policy.name} selects ${slip.key}=${slip.value}, which no pod there has; ${slip.key}=${slip.near} is near: what it was to protect is open`,
        advice: `If ${slip.near} was meant, correct the podSelector.`,
      },
      `NetworkPolicy ${policy.namespace}/${policy.name}, podSelector`,
      JSON.stringify(policy.podSelector),
    ),
  ];
}

const MIN_LENGTH = 3;

/** One letter more, less or other; not a number that counts on (`web-1`, `web-2`), nor one name that begins another. */
function isSlip(value: string, near: string): boolean {
  return Math.abs(value.length - near.length) <= 1 && value.replaceAll(/\d/g, '') !== near.replaceAll(/\d/g, '');
}

/** `namespaceSelector: {name: kube-system}` where namespaces carry only kubernetes.io/metadata.name. */
function strangePeers(policy: NetworkPolicy, { namespaces }: Inventory): readonly Draft[] {
  const names = new Set(namespaces.map(({ name }) => name));
  const keys = new Set(namespaces.flatMap(({ labels }) => Object.keys(labels)));
  const rules = [...(policy.ingress ?? []), ...(policy.egress ?? [])];
  const labels = rules.flatMap(({ peers }) =>
    peers.flatMap(({ namespaceSelector }) => Object.entries(namespaceSelector?.matchLabels ?? {})),
  );
  const strange = labels.find(([key, value]) => !keys.has(key) && names.has(value));
  if (strange === undefined) return [];
  const [key, value] = strange;
  return [
    draft(
      entityOf(policy),
      {
        code: 'policy-peer-matches-nothing',
        severity: 'info',
        summary: `the NetworkPolicy ${policy.namespace}/${policy.name} names the namespace ${value} by the label ${key}, which no namespace has: that rule allows nobody`,
        advice: `Every namespace has the label kubernetes.io/metadata.name: use kubernetes.io/metadata.name: ${value}.`,
      },
      `NetworkPolicy ${policy.namespace}/${policy.name}, namespaceSelector`,
      `${key}: ${value}`,
    ),
  ];
}

function entityOf({ namespace, name }: NetworkPolicy): Entity {
  return { kind: 'NetworkPolicy', namespace, name };
}
