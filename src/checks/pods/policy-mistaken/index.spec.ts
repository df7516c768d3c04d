import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod } from '../../../../test/fixtures.ts';
import { policyMistaken } from './index.ts';

const inCase = (name: string) => readCase('pods/policy-mistaken', name);

test('no policy', () => {
  expect(evaluated(policyMistaken, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a label that no namespace has', () => {
  expect(evaluated(policyMistaken, inCase('no-such-label'))).toEqual({
    findings: [
      {
        check: 'policy-mistaken',
        layer: 'L4',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          { where: 'Kubernetes API', source: 'NetworkPolicy default/from-system, namespaceSelector', text: 'name: kube-system' },
        ],
        entity: { kind: 'NetworkPolicy', namespace: 'default', name: 'from-system' },
        at: [],
        harms: [],
        code: 'policy-peer-matches-nothing',
        summary:
          'the NetworkPolicy default/from-system names the namespace kube-system by the label name, which no namespace has: that rule allows nobody',
        advice: 'Every namespace has the label kubernetes.io/metadata.name: use kubernetes.io/metadata.name: kube-system.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('the port of the Service', () => {
  expect(evaluated(policyMistaken, inCase('service-port'))).toEqual({
    findings: [
      {
        check: 'policy-mistaken',
        layer: 'L4',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'NetworkPolicy default/web; Service default/web',
            text: 'ingress ports TCP 80; port 80, targetPort http',
          },
        ],
        entity: { kind: 'NetworkPolicy', namespace: 'default', name: 'web' },
        at: [],
        harms: [],
        code: 'policy-names-service-port',
        summary:
          'the NetworkPolicy default/web allows TCP 80, the port of the Service default/web, but its pods (default/web-1 and 2 more) take connections on 8080, which no policy allows',
        advice: "Name the pods' port in the policy: 8080 instead of 80.",
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a letter wrong', () => {
  expect(evaluated(policyMistaken, inCase('slip'))).toEqual({
    findings: [
      {
        check: 'policy-mistaken',
        layer: 'L4',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'NetworkPolicy default/client, podSelector',
            text: '{"matchLabels":{"app":"cliemt"}}',
          },
        ],
        entity: { kind: 'NetworkPolicy', namespace: 'default', name: 'client' },
        at: [],
        harms: [],
        code: 'policy-selects-nothing',
        summary:
          'the NetworkPolicy default/client selects app=cliemt, which no pod there has; app=client is near: what it was to protect is open',
        advice: 'If client was meant, correct the podSelector.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const found = (bundle: ReturnType<typeof inCase>) => findingsIn(policyMistaken, bundle).map(({ code }) => code);

/** The case with its policy changed. */
function withPolicy(name: string, change: object) {
  const bundle = inCase(name);
  const policies = bundle.inventory.policies.map((policy) => ({ ...policy, ...change }));
  return { ...bundle, inventory: { ...bundle.inventory, policies } };
}

const ports = (...list: readonly object[]) => ({
  ingress: [{ peers: [], ports: list.map((port) => ({ protocol: 'TCP', endPort: null, ...port })) }],
});

test.for([
  ['the port of the pods', ports({ port: 8080 })],
  ['both ports', ports({ port: 80 }, { port: 8080 })],
  ['a range with the port of the pods', ports({ port: 80, endPort: 9000 })],
  ['a port by its name', ports({ port: 'http' })],
  ['every port', ports()],
  ['nothing at all, on purpose', { ingress: [] }],
  ['another port', ports({ port: 443 })],
] as const)('a policy that allows %s means it', ([, change]) => {
  expect(found(withPolicy('service-port', change))).toEqual([]);
});

test('another policy may allow the port of the pods', () => {
  const bundle = inCase('service-port');
  const [policy] = bundle.inventory.policies;
  if (policy === undefined) throw new Error('there is no policy');
  const other = {
    ...policy,
    name: 'other',
    ...withPolicy('service-port', ports({ port: 8080 })).inventory.policies[0],
    podSelector: {},
  };
  expect(found({ ...bundle, inventory: { ...bundle.inventory, policies: [policy, { ...other, name: 'other' }] } })).toEqual([]);
});

test.for([
  ['clients', ['policy-selects-nothing']],
  ['batch', []],
  ['web-frontend', []],
  ['cl', []],
] as const)('a selector for app=%s', ([app, codes]) => {
  expect(found(withPolicy('slip', { podSelector: { matchLabels: { app } } }))).toEqual(codes);
});

test('a label that no pod has, and every object', () => {
  expect(found(withPolicy('slip', { podSelector: { matchLabels: { constructor: 'client' } } }))).toEqual([]);
});

test('names that only count on are no slip', () => {
  const numbered = withPod(inCase('slip'), 'client-1', { labels: { app: 'shard-1' } });
  const policies = numbered.inventory.policies.map((policy) => ({ ...policy, podSelector: { matchLabels: { app: 'shard-2' } } }));
  expect(found({ ...numbered, inventory: { ...numbered.inventory, policies } })).toEqual([]);
});

test('a label that some namespace has is meant', () => {
  const bundle = inCase('no-such-label');
  const namespaces = bundle.inventory.namespaces.map((one) => ({ ...one, labels: { ...one.labels, name: 'other' } }));
  expect(found({ ...bundle, inventory: { ...bundle.inventory, namespaces } })).toEqual([]);
});
