import { z } from 'zod';
import { nodeEntity } from '../../../model/entity.ts';
import type { RemedyOffer } from '../../../model/finding.ts';
import { nodePlace } from '../../../model/hop.ts';
import type { Inventory } from '../../../model/inventory.ts';
import { type Draft, defineCheck } from '../../kit/check.ts';
import { isInside } from '../../kit/fib.ts';
import { type Link, parseLinks } from '../../kit/links.ts';
import { networkOf } from '../../kit/node-network.ts';
import { ADDRESSES } from '../../kit/readings.ts';

/** What a node's devices can carry; `pods` is the largest packet that pods send through the tunnel, `outer` that in its wrapping. */
type Sizes = {
  readonly node: string;
  readonly uplink: Link;
  readonly overlay: Link | null;
  readonly pods: number | null;
  readonly outer: number | null;
};

/** Octets that VXLAN adds: outer IPv4 20 or IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348). */
const OVERHEAD = { 4: 50, 6: 70 } as const;

/** N14. Source: RFC 7348, section 4.3; flannel, pkg/backend/vxlan/device.go: the device's MTU less the overhead. */
export const mtuTooLarge = defineCheck({
  id: 'mtu-too-large',
  row: 'N14',
  layer: 'L3',
  scope: 'cluster',
  title: 'Packets of the pod network are larger than an uplink takes',
  why: 'Handshakes pass and transfers hang, or every large packet goes in two pieces that some networks lose.',
  codes: {
    'overlay-mtu-too-large': 'Packets of full size, with what the tunnel adds, are larger than the uplink of a node takes.',
    'mtu-differs': 'The uplink of a node takes packets of another size than those of the other nodes on the same link.',
  },
  params: z.strictObject({}),
  collect: { addresses: ADDRESSES },
  parse: ({ addresses }) => parseLinks(addresses),
  evaluate: (facts: ReadonlyMap<string, readonly Link[]>, { inventory }) => {
    const sizes = [...facts].flatMap(([node, links]) => sizesOf(node, links, inventory) ?? []);
    const large = tooLarge(sizes);
    return [
      ...large.values(),
      ...differing(
        sizes.filter(({ node }) => !large.has(node)),
        sizes,
      ),
    ];
  },
});

function sizesOf(node: string, links: readonly Link[], inventory: Inventory): Sizes | null {
  const { uplink, bridge, overlay } = networkOf(inventory, node, links);
  if (uplink === null) return null;
  if (overlay?.vxlan == null) return { node, uplink, overlay: null, pods: null, outer: null };
  // A pod's own MTU may be larger than the tunnel's: the node then says so to the pod, which is harmless by itself.
  const pods = Math.min(overlay.mtu, bridge?.mtu ?? overlay.mtu);
  const family = overlay.vxlan.local?.includes(':') === true ? 6 : 4;
  return { node, uplink, overlay, pods, outer: pods + OVERHEAD[family] };
}

/** Nodes whose uplink is too small for what their own pods send, or for what others on the same link send to them. */
function tooLarge(sizes: readonly Sizes[]): ReadonlyMap<string, Draft> {
  return new Map(
    sizes.flatMap((own) => {
      const { node, uplink, overlay } = own;
      if (overlay?.vxlan == null) return [];
      const senders = sizes.filter((other) => (other.outer ?? 0) > uplink.mtu && (other.node === node || isOnLink(other, own)));
      const [largest] = senders.toSorted((a, b) => (b.outer ?? 0) - (a.outer ?? 0));
      // A sender with a larger uplink than everybody else is the odd one itself.
      const isOwn = senders.some((other) => other.node === node);
      const isMost = senders.length * 2 > sizes.length;
      return largest === undefined || !(isOwn || isMost) ? [] : [[node, overlayDraft(own, largest, isOwn, sizes)] as const];
    }),
  );
}

function overlayDraft(own: Sizes, largest: Sizes, isOwn: boolean, sizes: readonly Sizes[]): Draft {
  const { node, uplink, overlay, pods, outer } = own;
  const added = (outer ?? 0) - (pods ?? 0);
  const device = overlay?.name ?? '';
  const fits = uplink.mtu - added;
  const whose = isOwn ? `${device} of ${node}` : `${largest.overlay?.name ?? device} of ${largest.node}, as on other nodes,`;
  return {
    code: 'overlay-mtu-too-large',
    entity: nodeEntity(node),
    at: [{ place: nodePlace(node), point: 'dev', dev: uplink.name }],
    harms: [{ minSize: uplink.mtu + 1 }],
    summary: `${whose} sends packets of ${largest.pods} bytes, ${largest.outer} with what the tunnel adds, but ${uplink.name} of ${node} takes only ${uplink.mtu}`,
    advice: `Give ${uplink.name} of ${node} an MTU of ${largest.outer} as the network allows, or ${device} one of ${fits} (the uplink's less ${added}) and the pods the same: flannel computes it anew when it is restarted, pods take it when they are made anew.`,
    evidence: [
      {
        where: node,
        source: ADDRESSES.argv.join(' '),
        text: `${uplink.name} mtu ${uplink.mtu}, ${device} mtu ${overlay?.mtu ?? '?'}`,
      },
      ...(isOwn
        ? []
        : [
            {
              where: largest.node,
              source: ADDRESSES.argv.join(' '),
              text: `${largest.uplink.name} mtu ${largest.uplink.mtu}, ${largest.overlay?.name ?? '?'} mtu ${largest.overlay?.mtu ?? '?'}`,
            },
          ]),
    ],
    remedy: overlayRemedy(own, largest, isOwn ? fits : null, sizes),
  };
}

/** The uplink gets what most on its link have, where that is enough; else the overlay gets what fits, if any is known to. */
function overlayRemedy(own: Sizes, largest: Sizes, fits: number | null, sizes: readonly Sizes[]): RemedyOffer | undefined {
  const usual = usualOn(own, sizes)?.mtu ?? 0;
  if (usual >= (largest.outer ?? 0)) return setMtu(own.node, own.uplink, usual);
  return fits === null || own.overlay === null ? undefined : setMtu(own.node, own.overlay, fits);
}

function setMtu(node: string, { name, mtu }: Link, wanted: number): RemedyOffer {
  return { id: 'set-mtu', node, params: { device: name, from: String(mtu), mtu: String(wanted) } };
}

/** The MTU that the uplinks of most other nodes on the same link have, and those nodes; null where there is none, or one other. */
function usualOn(own: Sizes, sizes: readonly Sizes[]): { readonly mtu: number; readonly same: readonly Sizes[] } | null {
  const others = sizes.filter((other) => other.node !== own.node && isOnLink(other, own));
  const byMtu = Map.groupBy(others, (other) => other.uplink.mtu);
  const [mtu, same] = [...byMtu].find(([, group]) => group.length * 2 > others.length) ?? [];
  return mtu === undefined || same === undefined || others.length < 2 ? null : { mtu, same };
}

/** Nodes whose uplink has another MTU than most of the nodes on the same link have. */
function differing(candidates: readonly Sizes[], sizes: readonly Sizes[]): readonly Draft[] {
  if (new Set(sizes.map(({ uplink }) => uplink.mtu)).size === 1) return [];
  return candidates.flatMap((own) => {
    const { node, uplink } = own;
    const most = usualOn(own, sizes);
    if (most === null || most.mtu === uplink.mtu) return [];
    const { mtu: usual, same } = most;
    const smaller = Math.min(usual, uplink.mtu);
    return [
      {
        code: 'mtu-differs',
        entity: nodeEntity(node),
        severity: 'warning',
        at: [{ place: nodePlace(node), point: 'dev', dev: uplink.name }],
        harms: [{ minSize: smaller + 1 }],
        summary: `${uplink.name} of ${node} has an MTU of ${uplink.mtu}, those of ${same.length} nodes on the same link have ${usual}: packets over ${smaller} bytes are lost between them without an error`,
        advice: `Give all uplinks on one link the same MTU. TCP agrees on the smaller one, UDP and tunnels do not.`,
        evidence: [own, ...same.slice(0, 2)].map((each) => ({
          where: each.node,
          source: ADDRESSES.argv.join(' '),
          text: `${each.uplink.name} mtu ${each.uplink.mtu}`,
        })),
        // What the node's own tunnel sends has to fit, too.
        remedy: (own.outer ?? 0) > usual ? undefined : setMtu(node, uplink, usual),
      } satisfies Draft,
    ];
  });
}

/** Whether a node's uplink has an address on the link of another's. */
function isOnLink(other: Sizes, { uplink }: Sizes): boolean {
  const blocks = uplink.addresses.filter(({ family, prefix }) => family === 4 && prefix < 32);
  return other.uplink.addresses.some(
    ({ ip, family }) => family === 4 && blocks.some((block) => isInside(ip, `${block.ip}/${block.prefix}`)),
  );
}
