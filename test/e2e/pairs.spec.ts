import { expect, test } from 'vitest';
import { together } from '../lab/faults/fault.ts';
import { FAULTS, healFault, injectFault } from '../lab/faults/index.ts';
import { count } from '../promises/counts.ts';
import { diagnoseLab, mismatches } from './diagnose.ts';
import { sharedLab } from './shared-lab.ts';

/*
 * Two different faults at once, on two nodes: the verdict names both, each on its own node, and accuses nothing else.
 */

const PAIRS: readonly (readonly [string, string])[] = [
  ['ip-forward-off-by-file', 'stale-neighbour-permanent'],
  ['ip-forward-off', 'flannel-fdb-missing'],
  ['dns-pair-race', 'pod-mac-elsewhere'],
  ['forward-drop-nft', 'flannel-route-stale'],
  ['coredns-down', 'ip-forward-off'],
  ['rack-drop-pair-one-way', 'vxlan-port-taken'],
  ['vxlan-port-blocked', 'ip-forward-off'],
  ['path-mtu-black-hole', 'flannel-neighbour-missing'],
  ['vxlan-vni-mismatch', 'forward-reject-legacy'],
  ['input-drop-vxlan', 'flannel-route-missing'],
  ['foreign-firewall-ufw', 'flannel-fdb-stale'],
  ['rack-cut-node', 'flannel-neighbour-stale'],
  ['rack-loss-one-way', 'forward-reject-iptables-nft'],
];

const shared = sharedLab({ nodes: 6 });

// `npm run lab:score` measures many more.
for (const [first, second] of PAIRS.slice(0, count(4, PAIRS.length))) {
  test.runIf(process.env['NETCHECK_LAB_MISSING'] === undefined)(`${first} on node-2 and ${second} on node-5`, async () => {
    const lab = shared();
    const injected = [
      await injectFault(lab, first, { node: 'node-2' }),
      await injectFault(lab, second, { node: 'node-5', ...(FAULTS[second]?.placement === 'pair' ? { peer: 'node-6' } : {}) }),
    ];
    const { verdict } = await diagnoseLab(lab);
    for (const { fault, at } of injected) await healFault(lab, fault.name, at.node);
    const expected = together(injected.map(({ fault, at }) => fault.expects(lab, at)));
    expect({ wrong: mismatches(verdict, expected), headline: verdict.headline }).toEqual({
      wrong: [],
      headline: verdict.headline,
    });
  });
}
