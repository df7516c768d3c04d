import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { vtepMacWrong } from './index.ts';

const inCase = (name: string) => readCase('flannel/vtep-mac-wrong', name);

test('changed', () => {
  expect(evaluated(vtepMacWrong, inCase('changed'))).toEqual({
    findings: [
      {
        check: 'vtep-mac-wrong',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'flannel.1: link/ether 0e:75:64:65:76:01',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/backend-data',
            text: 'VtepMAC 0e:bc:63:65:6b:f6',
          },
        ],
        code: 'flannel-vtep-mac-changed',
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
        ],
        harms: [{}],
        summary: 'flannel.1 on node-2 has the MAC address 0e:75:64:65:76:01, flannel has told the other nodes 0e:bc:63:65:6b:f6',
        advice:
          'Restart flannel on node-2: it tells the others the address that the device has now. So that it stays: a .link file with MACAddressPolicy=none for flannel.1 (/etc/systemd/network/10-flannel.link).',
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

test('duplicate', () => {
  expect(evaluated(vtepMacWrong, inCase('duplicate'))).toEqual({
    findings: [
      {
        check: 'vtep-mac-wrong',
        layer: 'L2',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/backend-data',
            text: 'VtepMAC 0e:bc:63:65:6b:f6',
          },
          {
            where: 'Kubernetes API',
            source: 'Node node-3, annotation flannel.alpha.coreos.com/backend-data',
            text: 'VtepMAC 0e:bc:63:65:6b:f6',
          },
          {
            where: 'node-2',
            source: 'ip -j -d -s address show',
            text: 'flannel.1: link/ether 0e:bc:63:65:6b:f6',
          },
          {
            where: 'node-3',
            source: 'ip -j -d -s address show',
            text: 'flannel.1: link/ether 0e:bc:63:65:6b:f6',
          },
        ],
        code: 'flannel-vtep-mac-duplicate',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-1',
            point: 'fdb',
            via: '10.28.87.60',
          },
          {
            place: 'node/node-2',
            point: 'fdb',
            via: '10.28.87.61',
          },
          {
            place: 'node/node-3',
            point: 'fdb',
            via: '10.28.87.60',
          },
        ],
        harms: [{}],
        summary:
          'the tunnel devices of node-2 and node-3 have the same MAC address 0e:bc:63:65:6b:f6: they do not reach each other, and the other nodes reach only one of them',
        advice:
          'The nodes are probably clones with the same /etc/machine-id. Give each its own (rm /etc/machine-id; systemd-machine-id-setup), delete the tunnel device on all of them but one and restart flannel there; or set MACAddressPolicy=none for it in a .link file.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('healthy', () => {
  expect(evaluated(vtepMacWrong, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test.for([
  ['missing', (stdout: string) => stdout.replaceAll('vxlan', 'dummy').replaceAll('flannel.1', 'dummy0')],
  ['written in capitals', (stdout: string) => stdout.replace('0e:bc:63:65:6b:f6', '0E:BC:63:65:6B:F6')],
] as const)('a device that is %s is no changed one', ([, change]) => {
  expect(findingsIn(vtepMacWrong, withReading(inCase('healthy'), 'address show', said(change), 'node-2'))).toEqual([]);
});

test('of nodes that were not read, nothing is known of where their packets go', () => {
  const bundle = inCase('duplicate');
  expect(evaluated(vtepMacWrong, { ...bundle, evidence: [] }).findings).toMatchObject([
    { code: 'flannel-vtep-mac-duplicate', harms: [], at: [{ place: 'node/node-2', point: 'tunnel', dir: 'in' }] },
  ]);
});

test('a cluster without flannel has nothing to judge', () => {
  const bundle = inCase('duplicate');
  const nodes = bundle.inventory.nodes.map((node) => ({ ...node, annotations: {} }));
  const without: Bundle = { ...bundle, inventory: { ...bundle.inventory, nodes } };
  expect(findingsIn(vtepMacWrong, without)).toEqual([]);
});

test('a node whose MAC address cannot be read is a gap', () => {
  const bundle = readCase('flannel/vtep-mac-wrong', 'healthy');
  const nodes = bundle.inventory.nodes.map((node) => {
    const annotations = { ...node.annotations, 'flannel.alpha.coreos.com/backend-data': '{' };
    return node.name === 'node-2' ? { ...node, annotations } : node;
  });
  const { findings, gaps } = evaluated(vtepMacWrong, { ...bundle, inventory: { ...bundle.inventory, nodes } });
  const reason = 'annotation flannel.alpha.coreos.com/backend-data cannot be read: {';
  expect({ findings, gaps }).toEqual({ findings: [], gaps: [{ what: 'vtep-mac-wrong', where: 'node-2', reason }] });
});
