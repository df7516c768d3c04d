import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withReading } from '../../../../test/fixtures.ts';
import type { Bundle } from '../../../model/bundle.ts';
import { nodesDisagree } from './index.ts';

const inCase = (name: string) => readCase('cluster/nodes-disagree', name);

test('backend', () => {
  expect(evaluated(nodesDisagree, inCase('backend'))).toEqual({
    findings: [
      {
        check: 'nodes-disagree',
        layer: 'L3',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'Kubernetes API',
            source: 'Node node-2, annotation flannel.alpha.coreos.com/backend-type',
            text: 'host-gw',
          },
          {
            where: 'cluster',
            source: 'ConfigMap kube-flannel/kube-flannel-cfg',
            text: 'vxlan, as on 2 nodes',
          },
        ],
        code: 'flannel-backend-differs',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'tunnel',
          },
        ],
        harms: [{}],
        summary: "flannel on node-2 uses the backend host-gw, on the other nodes vxlan: they do not know of each other's pods",
        advice: 'Restart flannel on node-2: it takes the backend of net-conf.json, and the others learn of it.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

test('healthy', () => {
  expect(evaluated(nodesDisagree, inCase('healthy'))).toEqual({
    findings: [],
    acquitted: [],
    gaps: [],
  });
});

test('proxy mode', () => {
  expect(evaluated(nodesDisagree, inCase('proxy-mode'))).toEqual({
    findings: [
      {
        check: 'nodes-disagree',
        layer: 'L4',
        severity: 'warning',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: 'packet filter rules and devices',
            text: 'kube-proxy: nftables',
          },
          {
            where: 'cluster',
            source: '2 other nodes',
            text: 'iptables',
          },
        ],
        code: 'proxy-mode-differs',
        entity: {
          kind: 'Node',
          name: 'node-2',
        },
        at: [
          {
            place: 'node/node-2',
            point: 'nat',
          },
        ],
        harms: [],
        summary: 'kube-proxy on node-2 works in nftables mode, on the other nodes in iptables mode',
        advice:
          'Compare the configuration of kube-proxy (ConfigMap kube-system/kube-proxy, mode) with what its pod on node-2 was started with; rules of the mode before stay until kube-proxy --cleanup or a reboot, and still change packets.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

/** The modes that are told of each node, with changed readings of node-2. */
const told = (bundle: Bundle) =>
  findingsIn(nodesDisagree, bundle).map(({ code, entity, summary }) => [code, entity.name, summary]);

test('rules of two modes on one node: the older ones were left', () => {
  const before = inCase('healthy').evidence.find(({ node }) => node === 'node-2')?.items;
  const rules = Object.entries(before ?? {}).find(([key]) => key.includes('iptables-nft-save'))?.[1].stdout ?? '';
  const both = withReading(inCase('proxy-mode'), 'iptables-nft-save', (item) => ({ ...item, stdout: rules }), 'node-2');
  expect(told(both)).toEqual([
    [
      'proxy-mode-differs',
      'node-2',
      'node-2 has the rules of kube-proxy in iptables and nftables mode, the other nodes those of iptables mode only: old ones were left',
    ],
  ]);
});

test('where there is no mode that most nodes have, nobody can say which node is wrong', () => {
  const bundle = inCase('proxy-mode');
  const two: Bundle = { ...bundle, evidence: bundle.evidence.filter(({ node }) => node !== 'node-3') };
  expect(told(two)).toEqual([]);
});

test('without a configuration the backend is the one that most nodes have', () => {
  const bundle = inCase('backend');
  expect(told({ ...bundle, inventory: { ...bundle.inventory, configs: {} } })).toEqual([
    ['flannel-backend-differs', 'node-2', expect.stringContaining('host-gw')],
  ]);
});

test('a backend that no node has yet is a change that has not begun', () => {
  const bundle = inCase('healthy');
  const configs = { 'kube-flannel/kube-flannel-cfg': { 'net-conf.json': '{"Backend":{"Type":"host-gw"}}' } };
  expect(told({ ...bundle, inventory: { ...bundle.inventory, configs } })).toEqual([]);
});
