import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { Evidence } from '../../../model/evidence.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { allParsed, type Draft, defineCheck, ok, type Parsed, type Probed, parseComplete } from '../../kit/check.ts';
import { flannelNodes } from '../../kit/flannel.ts';
import { type ProtocolCounters, parseProtocolCounters } from '../../kit/protocol-counters.ts';
import { PROTOCOL_COUNTERS, VXLAN_OFFLOADS } from '../../kit/readings.ts';

/** `offload` is whether flannel.1 leaves checksums to the network card; null where there is no such device. */
type Facts = { readonly before: ProtocolCounters; readonly after: ProtocolCounters; readonly offload: boolean | null };

const COUNTER = 'Udp InCsumErrors';

/** F4. Source: flannel-io/flannel#1279; net/ipv4/udp.c, udp4_csum_init (a wrong checksum is counted and the packet dropped). */
export const vxlanChecksumWrong = defineCheck({
  id: 'vxlan-checksum-wrong',
  row: 'F4',
  layer: 'L4',
  scope: 'cluster',
  title: 'Packets of the overlay arrive with wrong checksums',
  why: 'The receiver throws them away without a word: the kernel or the network card of the sender computed the checksum wrongly.',
  codes: {
    'vxlan-checksum-wrong': 'UDP checksum errors grow on nodes while what is sent to them through the overlay is lost.',
  },
  params: z.strictObject({}),
  collect: { counters: PROTOCOL_COUNTERS, offloads: VXLAN_OFFLOADS },
  parse: ({ counters, offloads }) =>
    allParsed<Facts>({
      before: parseProtocolCounters(counters.before),
      after: parseProtocolCounters(counters.after),
      offload: parseOffload(offloads),
    }),
  evaluate: (facts: ReadonlyMap<string, Facts>, { inventory, probed }) =>
    flannelNodes(inventory).flatMap(({ node }) => judgeSender(node.name, facts, inventory, probed)),
});

/** Source: ethtool(8), -k: one line for each feature, `[fixed]` where it cannot be changed. */
function parseOffload(evidence: Evidence): Parsed<boolean | null> {
  if (evidence.exitCode !== 0 && evidence.fault === undefined && /No such device|no features/i.test(evidence.stderr))
    return ok(null);
  return parseComplete(evidence, (stdout) => {
    const state = /^\s*tx-checksum-ip-generic: (on|off)/m.exec(stdout)?.[1];
    if (!stdout.startsWith('Features for ') || state === undefined) throw new Error('no tx-checksum-ip-generic');
    return state === 'on';
  });
}

/** What a node sends through the overlay: to whom nothing of it gets, while that receiver counts wrong checksums. */
function judgeSender(
  name: string,
  facts: ReadonlyMap<string, Facts>,
  inventory: Inventory,
  probed: readonly Probed[],
): readonly Draft[] {
  const lost = inventory.nodes.flatMap((target) => {
    const own = facts.get(target.name);
    if (own === undefined || target.ip === null || target.name === name) return [];
    const errors = (own.after.get(COUNTER) ?? 0) - (own.before.get(COUNTER) ?? 0);
    const sent = unanswered(probed, name, target.name);
    return errors > 0 && sent > 0 ? [{ target: target.name, ip: target.ip, errors, sent }] : [];
  });
  if (lost.length === 0) return [];
  const names = lost.map(({ target }) => target);
  const which = names.length > 3 ? `${names.length} nodes` : names.join(', ');
  const offload = facts.get(name)?.offload ?? null;
  // A counter is proof when it grew by what was sent; a few errors may be anybody's.
  const isProof = lost.every(({ errors, sent }) => 2 * errors >= sent);
  return [
    {
      code: 'vxlan-checksum-wrong',
      entity: nodeEntity(name),
      certainty: isProof ? 'certain' : 'suspect',
      at: lost.map(({ ip }) => ({ place: nodePlace(name), point: 'fdb' as const, via: ip })),
      harms: [{}],
      summary: `what ${name} sends through the overlay arrives with wrong UDP checksums at ${which} and is thrown away there`,
      advice:
        offload === true
          ? `Let the kernel compute the checksums on ${name} (ethtool -K flannel.1 tx-checksum-ip-generic off), on every node where kernel or network card are the same; it comes back with the device. A newer kernel or driver has it mended.`
          : `flannel.1 on ${name} computes the checksums itself: look at the offloads of the network card below it (ethtool -k), at its driver, and at what changes packets on the way.`,
      evidence: [
        ...lost.slice(0, 4).map(({ target, errors, sent }) => ({
          where: target,
          source: '/proc/net/snmp',
          text: `${COUNTER} +${errors} during the run; ${sent} packets from ${name} were not answered`,
        })),
        ...(offload === null
          ? []
          : [{ where: name, source: VXLAN_OFFLOADS.argv.join(' '), text: `tx-checksum-ip-generic: ${offload ? 'on' : 'off'}` }]),
      ],
      remedy: offload === true ? { id: 'disable-tx-checksum', node: name, params: { device: 'flannel.1' } } : undefined,
    },
  ];
}

/** Packets sent to another node's pod bridge of which none arrived; none where any did. One-way ones decide where there are any. */
function unanswered(probed: readonly Probed[], from: string, to: string): number {
  const all = probed.filter(
    ({ probe, result }) =>
      probe.check === 'node-to-pod-network' && probe.from.node === from && probe.to.node === to && result.status !== 'unknown',
  );
  const oneWay = all.filter(({ probe }) => probe.method === 'udp');
  const asked = oneWay.length > 0 ? oneWay : all;
  return asked.every(({ result }) => result.status === 'fail' && result.delivered === 0)
    ? asked.reduce((sum, { result }) => sum + result.sent, 0)
    : 0;
}
