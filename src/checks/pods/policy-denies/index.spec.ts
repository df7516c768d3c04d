import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedIn, readCase } from '../../../../test/fixtures.ts';
import { policyDenies } from './index.ts';

const inCase = (name: string) => readCase('pods/policy-denies', name);

test('no policy', () => {
  expect(evaluated(policyDenies, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a policy that is enforced', () => {
  expect(evaluated(policyDenies, inCase('denied'))).toEqual({
    findings: [
      {
        check: 'policy-denies',
        layer: 'L4',
        severity: 'info',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'NetworkPolicy netcheck-agents/agents',
            text: 'ingress: allows TCP 1 from every pod of its own namespace',
          },
        ],
        code: 'policy-denies',
        entity: { kind: 'NetworkPolicy', namespace: 'netcheck-agents', name: 'agents' },
        at: [],
        harms: [],
        summary:
          'the NetworkPolicy netcheck-agents/agents denies node-1 to netcheck-agents/netcheck-probe-2, node-1 to netcheck-agents/netcheck-probe-3, node-2 to netcheck-agents/netcheck-probe-1 and 3 more: these probes failed as it says, and say nothing of the network (ingress: allows TCP 1 from every pod of its own namespace)',
        advice: 'If this traffic is wanted, add a rule that allows it.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('a policy that nobody enforces', () => {
  expect(evaluated(policyDenies, inCase('open'))).toEqual({
    findings: [
      {
        check: 'policy-denies',
        layer: 'L4',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'NetworkPolicy netcheck-agents/agents',
            text: 'ingress: allows TCP 1 from every pod of its own namespace',
          },
        ],
        code: 'policy-not-enforced',
        entity: { kind: 'NetworkPolicy', namespace: 'netcheck-agents', name: 'agents' },
        at: [
          { place: 'pod/netcheck-agents/netcheck-probe-3', point: 'input' },
          { place: 'pod/netcheck-agents/netcheck-probe-1', point: 'input' },
          { place: 'pod/netcheck-agents/netcheck-probe-2', point: 'input' },
        ],
        harms: [],
        summary:
          'the NetworkPolicy netcheck-agents/agents denies node-1 to netcheck-agents/netcheck-probe-2, node-1 to netcheck-agents/netcheck-probe-3, node-2 to netcheck-agents/netcheck-probe-1 and 3 more, and every connection got through: nothing enforces it (ingress: allows TCP 1 from every pod of its own namespace)',
        advice: 'The CNI plugin has to enforce policies; flannel alone does not. Until then the policy protects nothing.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('one connection that is stopped shows that the policy is enforced', () => {
  const bundle = inCase('open');
  const [first] = probedIn(bundle).filter(({ probe }) => probe.expect === 'deny' && probe.method === 'tcp');
  const probed = probedIn(bundle).map((item) =>
    item.probe.id === first?.probe.id
      ? { ...item, result: { ...item.result, status: 'fail' as const, delivered: 0, how: 'timeout' as const } }
      : item,
  );
  expect(findingsIn(policyDenies, bundle, probed).map(({ code, severity }) => ({ code, severity }))).toEqual([
    { code: 'policy-denies', severity: 'info' },
  ]);
});

test('what is not known, and ping, say nothing', () => {
  const bundle = inCase('open');
  const probed = probedIn(bundle).map((item) => ({ ...item, result: { ...item.result, status: 'unknown' as const } }));
  expect(findingsIn(policyDenies, bundle, probed)).toEqual([]);
  const pings = probedIn(bundle).filter(({ probe }) => probe.method === 'ping');
  expect(findingsIn(policyDenies, bundle, pings)).toEqual([]);
});

test('rules are told in words', () => {
  const bundle = inCase('denied');
  const rules = [
    { peers: [], ports: [{ protocol: 'TCP', port: 80, endPort: 90 }] },
    {
      peers: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }],
      ports: [{ protocol: 'UDP', port: null, endPort: null }],
    },
    {
      peers: [
        { podSelector: { matchLabels: { app: 'a' } }, namespaceSelector: {} },
        {
          namespaceSelector: {
            matchExpressions: [
              { key: 'env', operator: 'In', values: ['x', 'y'] },
              { key: 'old', operator: 'Exists' },
            ],
          },
        },
      ],
      ports: [],
    },
  ];
  const policies = bundle.inventory.policies.map((policy) => ({ ...policy, ingress: rules, egress: [] }));
  const [finding] = findingsIn(policyDenies, { ...bundle, inventory: { ...bundle.inventory, policies } });
  expect(finding?.evidence.map(({ text }) => text)).toEqual([
    'ingress: allows TCP 80-90 from anybody, UDP from 10.0.0.0/8 but 10.1.0.0/16, everything from pods with app=a of every namespace or every pod of namespaces with env In (x, y), old Exists; egress: allows nothing',
  ]);
});
