import { expect, test } from 'vitest';
import { evaluated, findingsIn, probedOtherwise, readCase } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { publicAddressWrong } from './index.ts';

const inCase = (name: string) => readCase('flannel/public-address-wrong', name);

test('duplicate', () => {
  expect(evaluated(publicAddressWrong, inCase('duplicate'))).toEqual({
    findings: [
      {
        check: 'public-address-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/public-ip',
            text: '10.0.2.15; InternalIP 10.28.87.60',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-3, annotation flannel.alpha.coreos.com/public-ip',
            text: '10.0.2.15; InternalIP 10.28.87.61',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network ping node-1 > node-2 10.0.2.15',
            text: '0 of 3 answered',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network tcp node-1 > node-2 10.0.2.15',
            text: '0 of 3 answered, no answer to 3 attempts',
          },
        ],
        code: 'flannel-public-ip-duplicate',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
            dir: 'in',
          },
          {
            place: 'host/10.0.2.15',
            point: 'socket',
          },
          {
            place: 'node/node-3',
            point: 'tunnel',
            dir: 'in',
          },
        ],
        harms: [{}],
        summary: 'flannel on node-2 and node-3 announces the same address 10.0.2.15: packets for their pods go to one place',
        advice:
          'The address is that of an interface which is alike on every node (NAT of a hypervisor, a bridge, a VIP). Tell flannel which interface to take (--iface=NAME or --iface-regex in the args of its DaemonSet), then restart it node by node.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('foreign', () => {
  expect(evaluated(publicAddressWrong, inCase('foreign'))).toEqual({
    findings: [
      {
        check: 'public-address-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/public-ip',
            text: '203.0.113.7; InternalIP 10.28.87.60',
          },
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'eth0 10.28.87.60/16, cni0 172.27.2.1/24',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network ping node-1 > node-2 203.0.113.7',
            text: '0 of 3 answered',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network tcp node-1 > node-2 203.0.113.7',
            text: '0 of 3 answered, no answer to 3 attempts',
          },
        ],
        code: 'flannel-public-ip-foreign',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
            dir: 'in',
          },
          {
            place: 'host/203.0.113.7',
            point: 'socket',
          },
        ],
        harms: [{}],
        summary:
          "flannel on node-2 announces 203.0.113.7, which no interface of the node has; the node's address is 10.28.87.60 on eth0",
        advice:
          'Restart flannel on node-2: it announces the address of its interface again. If the address comes from --public-ip or from a NAT, take that away or let UDP of the overlay through it.',
        remedy: {
          id: 'restart-flannel',
          node: 'node-2',
          params: {
            namespace: 'kube-flannel',
            pod: 'kube-flannel-ds-2',
            uid: expect.any(String),
          },
        },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('healthy', () => {
  expect(evaluated(publicAddressWrong, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('wrong interface', () => {
  expect(evaluated(publicAddressWrong, inCase('wrong-interface'))).toEqual({
    findings: [
      {
        check: 'public-address-wrong',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/public-ip',
            text: '10.0.2.15; InternalIP 10.28.87.60',
          },
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'eth0 10.28.87.60/16, cni0 172.27.2.1/24, eth1 10.0.2.15/24',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network ping node-1 > node-2 10.0.2.15',
            text: '0 of 3 answered',
          },
          {
            where: 'node-1',
            source: 'node-to-pod-network tcp node-1 > node-2 10.0.2.15',
            text: '0 of 3 answered, no answer to 3 attempts',
          },
        ],
        code: 'flannel-wrong-interface',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
            dir: 'in',
          },
          {
            place: 'host/10.0.2.15',
            point: 'socket',
          },
        ],
        harms: [{}],
        summary: "flannel on node-2 announces 10.0.2.15 of eth1; the node's address is 10.28.87.60 on eth0",
        advice:
          'Tell flannel which interface to take (--iface=eth0 or --iface-regex in the args of its DaemonSet), then restart it on node-2.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

/** The bundle with annotations of node-2 changed. */
function annotated(bundle: Bundle, annotations: Readonly<Record<string, string>>): Bundle {
  const nodes = bundle.inventory.nodes.map((node) =>
    node.name === 'node-2' ? { ...node, annotations: { ...node.annotations, ...annotations } } : node,
  );
  return { ...bundle, inventory: { ...bundle.inventory, nodes } };
}

test.for(['wrong-interface', 'foreign'])('%s: where the overlay works, another address is a choice', (name) => {
  const bundle = inCase(name);
  const one = [/^node-to-pod-network ping node-1 > node-2 172/, { status: 'pass', delivered: 2, how: 'ok' }] as const;
  expect(findingsIn(publicAddressWrong, bundle, probedOtherwise(bundle, one))).toEqual([]);
  expect(findingsIn(publicAddressWrong, bundle, [])).toEqual([]);
});

test('the same address twice harms no packet where all of them get through', () => {
  const bundle = inCase('duplicate');
  const all = [/^node-to-pod-network (ping|tcp) node-\d > node-\d 172/, { status: 'pass', delivered: 2, how: 'ok' }] as const;
  expect(findingsIn(publicAddressWrong, bundle, probedOtherwise(bundle, all))).toMatchObject([
    { code: 'flannel-public-ip-duplicate', harms: [] },
  ]);
});

test('an address that was set by hand stays after a restart: none is offered', () => {
  const bundle = annotated(inCase('foreign'), { 'flannel.alpha.coreos.com/public-ip-overwrite': '203.0.113.7' });
  const [finding] = findingsIn(publicAddressWrong, bundle);
  expect(finding?.remedy).toBeUndefined();
  expect(finding?.advice).toContain('public-ip-overwrite');
});

test('where nothing of what the node sends arrives either, both ways are harmed', () => {
  const bundle = inCase('wrong-interface');
  const sent = [/^node-to-pod-network udp node-2 >/, { status: 'fail', delivered: 0 }] as const;
  expect(findingsIn(publicAddressWrong, bundle, probedOtherwise(bundle, sent))).toMatchObject([
    { at: [{ place: 'node/node-2', point: 'tunnel' }, { place: 'host/10.0.2.15' }] },
  ]);
});
