import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { webhookUnreachable } from './index.ts';

const inCase = (name: string) => readCase('api/webhook-unreachable', name);
const codes = (bundle: Bundle, probed = probedOtherwise(bundle)) =>
  findingsIn(webhookUnreachable, bundle, probed).map(({ code, severity }) => `${code} ${severity}`);
const told = (bundle: Bundle, change: (inventory: Inventory) => Partial<Inventory>): Bundle => ({
  ...bundle,
  inventory: { ...bundle.inventory, ...change(bundle.inventory) },
});

const HOOK = 'validate.policy.example.com';
const POD = '172.27.2.2';
const NODE = '10.28.87.60';
const REFUSES = `the API server refuses what ${HOOK} is asked about (failurePolicy Fail)`;

const shared = {
  check: 'webhook-unreachable',
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

test('a cluster without webhooks', () => {
  expect(evaluated(webhookUnreachable, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a webhook that answers on its own node, and not to the API server', () => {
  expect(findingsIn(webhookUnreachable, inCase('blocked'))).toEqual([
    {
      ...shared,
      code: 'webhook-blocked',
      certainty: 'inferred',
      at: ['node/node-3>node/node-2', 'node/node-2>node/node-3'].map((via) => ({ place: 'net', point: 'wire', via })),
      harms: [
        { proto: 'tcp', dst: POD, dport: 9443 },
        { proto: 'tcp', src: POD, sport: 9443 },
      ],
      summary: `node-3, where the API server runs, does not reach the webhook default/policy-webhook at ${POD}:9443, which answers on its own node: ${REFUSES}`,
      advice:
        'Between the control plane and the nodes something drops TCP 9443, and no rule on the nodes does: let it through in the firewall there (security group, firewall zone), from the control plane to all nodes that the webhook may run on.',
      evidence: [
        {
          where: 'node-3',
          source: expect.stringMatching(/^api-server-to-webhook tls node-3 > default\/web-2 172\.27\.2\.2/),
          text: 'no answer to 3 attempts',
        },
        {
          where: 'node-2',
          source: expect.stringMatching(/^api-server-to-webhook tls node-2 > default\/web-2 172\.27\.2\.2/),
          text: 'ok',
        },
        configured,
      ],
    },
  ]);
});

test('it is not blocked where the endpoint answers nobody, or the API server reaches nobody there', () => {
  const bundle = inCase('blocked');
  const silent = { status: 'fail', how: 'timeout', sent: 3, delivered: 0 } as const;
  expect(codes(bundle, probedOtherwise(bundle, [/webhook tls node-2 > default\/web-2/, silent]))).toEqual([]);
  expect(codes(bundle, probedOtherwise(bundle, [/^node-to-pod \w+ node-3 > /, silent]))).toEqual([]);
});

test('of a webhook that may fail, nothing is refused', () => {
  const ignored = told(inCase('blocked'), ({ webhooks }) => ({
    webhooks: webhooks.map((webhook) => ({ ...webhook, failurePolicy: 'Ignore' })),
  }));
  const [finding, ...others] = findingsIn(webhookUnreachable, ignored);
  expect([finding?.severity, finding?.summary, others]).toEqual([
    'warning',
    `node-3, where the API server runs, does not reach the webhook default/policy-webhook at ${POD}:9443, which answers on its own node: the API server goes on without ${HOOK} (failurePolicy Ignore), after up to 10 s each time`,
    [],
  ]);
});

test('an endpoint that is ready and refuses', () => {
  const [finding, ...others] = findingsIn(webhookUnreachable, inCase('refused'));
  expect(others).toEqual([]);
  expect(finding).toEqual({
    ...shared,
    code: 'webhook-refused',
    certainty: 'inferred',
    at: [{ place: 'node/node-2', point: 'socket' }],
    harms: [{ proto: 'tcp', dport: 9443 }],
    summary: `${NODE}:9443, ready behind the webhook default/policy-webhook, refuses connections, from its own node as from the API server: ${REFUSES}`,
    advice:
      'Nothing listens there, so this is no firewall: look at the log of its process, and at its readiness probe, which says that it is ready.',
    evidence: [
      ...['node-2', 'node-3'].map((where) => ({
        where,
        source: `api-server-to-webhook tls ${where} > ${NODE}:9443 ${NODE}`,
        text: expect.stringMatching(/^ECONNREFUSED after \d+ ms$/),
      })),
      configured,
    ],
  });
  const bundle = inCase('refused');
  const answered = { status: 'pass', how: 'ok', sent: 1, delivered: 1 } as const;
  expect(codes(bundle, probedOtherwise(bundle, [/tls node-2 > 10\.28\.87\.60:9443/, answered]))).toEqual([]);
});
