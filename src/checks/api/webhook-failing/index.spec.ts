import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { webhookFailing } from './index.ts';

const inCase = (name: string) => readCase('api/webhook-failing', name);
const codes = (bundle: Bundle) => findingsIn(webhookFailing, bundle).map(({ code, severity }) => `${code} ${severity}`);
const told = (bundle: Bundle, change: (inventory: Inventory) => Partial<Inventory>): Bundle => ({
  ...bundle,
  inventory: { ...bundle.inventory, ...change(bundle.inventory) },
});

const HOOK = 'validate.policy.example.com';
const REFUSES = `the API server refuses what ${HOOK} is asked about (failurePolicy Fail)`;

const shared = {
  check: 'webhook-failing',
  layer: 'L4',
  entity: { kind: 'Service', namespace: 'default', name: 'policy-webhook' },
  severity: 'critical',
  partial: false,
};
const configured = {
  where: 'Kubernetes API',
  source: 'ValidatingWebhookConfiguration policy',
  text: `${HOOK}: failurePolicy Fail, timeoutSeconds 10`,
};

const AT = [{ place: 'host/10.28.0.2', point: 'socket' }];

test('a cluster without webhooks', () => {
  expect(evaluated(webhookFailing, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

const none = {
  ...shared,
  code: 'webhook-without-endpoints',
  certainty: 'certain',
  at: [...AT, { place: 'node/node-3', point: 'socket' }],
  harms: [],
  summary: `no endpoint of the Service default/policy-webhook is ready: ${REFUSES}`,
  advice:
    'Get its pods ready again: kubectl -n default get pods,endpointslices. If they cannot be created because of this very webhook, delete or relax it for the time being: validatingwebhookconfiguration/policy.',
  evidence: [configured, { where: 'Kubernetes API', source: 'EndpointSlices of default/policy-webhook', text: 'none ready' }],
};

test('nobody is behind the Service, there is no such port, or no Service', () => {
  const bundle = inCase('without-endpoints');
  expect(findingsIn(webhookFailing, bundle)).toEqual([none]);
  const removed =
    'If what it belonged to was removed, remove its configuration too: kubectl delete validatingwebhookconfiguration/policy. Else mend the Service it names.';
  const port = told(bundle, ({ webhooks }) => ({
    webhooks: webhooks.map((webhook) => ({ ...webhook, service: { namespace: 'default', name: 'policy-webhook', port: 8443 } })),
  }));
  expect(findingsIn(webhookFailing, port)).toEqual([
    {
      ...none,
      summary: `the Service default/policy-webhook has no port 8443/TCP: ${REFUSES}`,
      advice: removed,
      evidence: [configured, { where: 'Kubernetes API', source: 'Services', text: 'ports 443' }],
    },
  ]);
  const service = told(bundle, ({ services }) => ({ services: services.filter(({ name }) => name !== 'policy-webhook') }));
  expect(findingsIn(webhookFailing, service)).toEqual([
    {
      ...none,
      summary: `there is no Service default/policy-webhook: ${REFUSES}`,
      advice: removed,
      evidence: [configured, { where: 'Kubernetes API', source: 'Services', text: 'no default/policy-webhook' }],
    },
  ]);
});

test('nothing is said of Services or endpoints that could not be read', () => {
  const gap = (what: string) => told(inCase('without-endpoints'), () => ({ gaps: [{ what, reason: 'forbidden' }] }));
  expect([codes(gap('services')), codes(gap('endpointslices')), codes(gap('pods'))]).toEqual([
    [],
    [],
    ['webhook-without-endpoints critical'],
  ]);
});

test('what the API server says in events, where it is seen from nowhere', () => {
  const bundle = inCase('call-failed');
  const [warning] = bundle.inventory.warnings;
  expect(findingsIn(webhookFailing, bundle)).toEqual([
    {
      ...shared,
      code: 'webhook-call-failed',
      entity: { kind: 'Service', namespace: 'default', name: 'web' },
      severity: 'warning',
      certainty: 'certain',
      at: AT,
      harms: [],
      summary: `the API server could not call the webhook ${HOOK} (default/web), 14 times within the last hour: the API server goes on without ${HOOK} (failurePolicy Ignore), after up to 5 s each time`,
      advice:
        'No answer came: see that the network lets the control plane reach the nodes on TCP 8080, which in managed clusters is a firewall rule of your own; a webhook that hangs looks the same.',
      evidence: [
        {
          where: 'Kubernetes API',
          source: 'Event FailedCreate of ReplicaSet default/shop-5f7c9',
          text: `${warning?.message} (14 times, last ${warning?.lastSeen})`,
        },
        { ...configured, text: `${HOOK}: failurePolicy Ignore, timeoutSeconds 5` },
      ],
    },
  ]);
});

test.for([
  ['x509: certificate signed by unknown authority', /^It answered, with a certificate .*caBundle/],
  ['dial tcp 172.26.80.90:443: connect: connection refused', /refuses connections/],
  ['no endpoints available for service "policy-webhook"', /^No endpoint /],
  ['dial tcp: lookup hooks.example.com: no such host', /could not resolve/],
  ['dial tcp 172.27.2.2:9443: i/o timeout', /^No answer came: .* TCP 8080/],
  ['expected webhook response of admission.k8s.io/v1', /^Its error says more/],
] as const)('an error in an event: %s', ([error, advice]) => {
  const bundle = told(inCase('call-failed'), ({ warnings }) => ({
    warnings: warnings.map((warning) => ({
      ...warning,
      message: `Error creating: Internal error occurred: failed calling webhook "${HOOK}": failed to call webhook: Post "https://web.default.svc:80/?timeout=10s": ${error}`,
    })),
  }));
  expect(findingsIn(webhookFailing, bundle).map((finding) => finding.advice)).toEqual([expect.stringMatching(advice)]);
});

test('an event of a webhook that is gone, and one that what is told already cites', () => {
  const gone = told(inCase('call-failed'), () => ({ webhooks: [] }));
  expect(findingsIn(webhookFailing, gone).map(({ entity, summary }) => [entity, summary])).toEqual([
    [{ kind: 'Cluster', name: 'lab' }, `the API server could not call the webhook ${HOOK}, 14 times within the last hour`],
  ]);
  const both = told(inCase('without-endpoints'), () => ({ warnings: inCase('call-failed').inventory.warnings }));
  const [finding, ...others] = findingsIn(webhookFailing, both);
  expect([finding?.code, finding?.evidence.length, others]).toEqual(['webhook-without-endpoints', 3, []]);
});
