import type { Packet } from '../../../model/packet.ts';
import { CT_STATE, CT_STATUS, type Field, TCP_FLAGS, type Value } from './ast.ts';

/** The kinds of address that rules tell apart (the kernel's RTN_ types, as iptables and nft name them). */
export type AddressType = 'local' | 'unicast' | 'broadcast' | 'multicast';

/**
 * A packet at a hook. What is absent is taken from the hook where that is possible (a packet in the input hook goes to
 * a local address), and else cannot be told. `mark` and `ctMark` absent are 0, the latter only while the connection is
 * new. `snat`: the source of the connection was translated. `bridged`: the packet stays on one bridge and is
 * shown to the hook by br_netfilter. `ports` are the bridge ports' names.
 */
export type FilterPacket = Packet & {
  readonly iif?: string;
  readonly oif?: string;
  readonly mark?: number;
  readonly ctMark?: number;
  readonly icmpType?: number;
  readonly icmpCode?: number;
  readonly tcpFlags?: readonly (keyof typeof TCP_FLAGS)[];
  readonly snat?: boolean;
  readonly srcType?: AddressType;
  readonly dstType?: AddressType;
  readonly bridged?: boolean;
  readonly portIn?: string;
  readonly portOut?: string;
};

/** The hooks of IPv4, IPv6 and inet tables; those of netdev tables; those of bridge tables. */
export type HookAt =
  | 'prerouting'
  | 'input'
  | 'forward'
  | 'output'
  | 'postrouting'
  | 'ingress'
  | 'egress'
  | 'bridge-prerouting'
  | 'bridge-input'
  | 'bridge-forward'
  | 'bridge-output'
  | 'bridge-postrouting';

/** Bits of which only some are known. */
export type Bits = { readonly value: number; readonly known: number };

const ALL_BITS = 0xffffffff;
export const UNKNOWN_BITS: Bits = { value: 0, known: 0 };

export function knownBits(value: number): Bits {
  return { value: value >>> 0, known: ALL_BITS };
}

/** What rules change on the packet's way: marks, tracking (null: cannot be told), and translated addresses. */
export type Changes = {
  readonly mark: Bits;
  readonly ctMark: Bits;
  readonly untracked: boolean | null;
  readonly sourceTranslated: boolean;
  readonly destinationTranslated: boolean;
};

/** The state of a packet before any rule touched it. */
export function unchanged(packet: FilterPacket): Changes {
  return {
    mark: knownBits(packet.mark ?? 0),
    ctMark: packet.ctMark === undefined && packet.state === 'established' ? UNKNOWN_BITS : knownBits(packet.ctMark ?? 0),
    untracked: false,
    sourceTranslated: false,
    destinationTranslated: false,
  };
}

/** A packet at one hook, as rules can ask for it; undefined is what cannot be told. */
export type Sight = {
  readonly field: (field: Field, changes: Changes, priority: number) => Value | Bits | undefined;
  readonly version: 4 | 6 | 'arp';
};

const ICMP_NEW = { 4: 8, 6: 128 } as const;
const ICMP_REPLY = { 4: 0, 6: 129 } as const;
/** Where connection tracking stands among the chains of the prerouting and output hooks. */
export const CONNTRACK_PRIORITY = -200;

/** How rules at a hook see a packet. `keyOf` turns an address into text that sorts (`addressKey`, or one that remembers). */
export function createSight(packet: FilterPacket, hook: HookAt, keyOf: (ip: string) => string): Sight {
  const version = packet.proto === 'arp' ? 'arp' : packet.src.includes(':') ? 6 : 4;
  const onlyLayer3 = !hook.startsWith('bridge') && hook !== 'ingress' && hook !== 'egress';

  function ctStateAt(changes: Changes, priority: number): Bits | undefined {
    const trackedFrom = hook === 'prerouting' || hook === 'output' ? CONNTRACK_PRIORITY : Number.NEGATIVE_INFINITY;
    if (!onlyLayer3 || priority === trackedFrom || changes.untracked === null) return undefined;
    if (changes.untracked) return knownBits(CT_STATE.untracked);
    return priority < trackedFrom ? knownBits(CT_STATE.invalid) : ctState(packet);
  }

  function field(name: Field, changes: Changes, priority: number): Value | Bits | undefined {
    switch (name) {
      case 'mark':
        return changes.mark;
      case 'ct-mark':
        return onlyLayer3 ? changes.ctMark : undefined;
      case 'ct-state':
        return ctStateAt(changes, priority);
      case 'ct-status':
        return onlyLayer3 ? ctStatus(packet) : undefined;
      case 'ct-direction':
        return packet.state === 'new' ? 'original' : undefined;
      case 'src':
        return changes.sourceTranslated ? undefined : keyOf(packet.src);
      case 'dst':
        return changes.destinationTranslated ? undefined : keyOf(packet.dst);
      case 'sport':
        return changes.sourceTranslated ? undefined : packet.sport;
      case 'dport':
        return changes.destinationTranslated ? undefined : packet.dport;
      case 'src-type':
        return (
          packet.srcType ??
          addressType(keyOf(packet.src), hook === 'output' ? 'local' : hook === 'forward' ? 'unicast' : undefined)
        );
      case 'dst-type':
        if (changes.destinationTranslated) return undefined;
        return (
          packet.dstType ??
          addressType(keyOf(packet.dst), hook === 'input' ? 'local' : hook === 'forward' ? 'unicast' : undefined)
        );
      case 'nfproto':
        return version === 'arp' ? 0x0806 : version;
      case 'proto':
        return protocolNumber(packet, version);
      case 'size':
        return packet.size;
      case 'icmp-type':
        return icmpType(packet, version);
      case 'icmp-code':
        return packet.proto === 'icmp' ? (packet.icmpCode ?? 0) : undefined;
      case 'tcp-flags':
        return packet.proto === 'tcp' ? knownBits(tcpFlags(packet)) : undefined;
      case 'fragment':
        return packet.df === undefined ? { value: 0, known: ~0x4000 >>> 0 } : knownBits(packet.df ? 0x4000 : 0);
      case 'packet-type':
        // a bridge shows its rules frames for other hosts, too
        return version === 'arp' || hook.startsWith('bridge')
          ? undefined
          : (packet.dstType ?? 'unicast').replace('local', 'unicast');
      // rules see an empty name where the hook has no such device
      case 'iif':
        return hook === 'output' || hook === 'egress' ? '' : packet.iif;
      case 'oif':
        return hook === 'input' || hook === 'prerouting' || hook === 'ingress' ? '' : packet.oif;
      case 'bridged':
        return packet.bridged === true ? 1 : 0;
      case 'bridge-port-in':
        return packet.portIn ?? (packet.bridged === true || packet.iif !== undefined ? undefined : '');
      case 'bridge-port-out':
        return packet.bridged === true ? packet.portOut : '';
      default:
        return name satisfies never;
    }
  }

  return { version, field };
}

function protocolNumber(packet: FilterPacket, version: 4 | 6 | 'arp'): number | undefined {
  switch (packet.proto) {
    case 'tcp':
      return 6;
    case 'udp':
      return 17;
    case 'icmp':
      return version === 6 ? 58 : 1;
    default:
      return undefined;
  }
}

function icmpType(packet: FilterPacket, version: 4 | 6 | 'arp'): number | undefined {
  if (packet.proto !== 'icmp' || version === 'arp') return undefined;
  return packet.icmpType ?? (packet.state === 'new' ? ICMP_NEW : ICMP_REPLY)[version];
}

function addressType(key: string, otherwise: AddressType | undefined): AddressType | undefined {
  if (key.length === 8) {
    const first = Number.parseInt(key.slice(0, 2), 16);
    if (first === 127) return 'local';
    if (key === 'ffffffff') return 'broadcast';
    if (first >= 224 && first < 240) return 'multicast';
  } else if (key.startsWith('ff')) {
    return 'multicast';
  }
  return otherwise;
}

function tcpFlags(packet: FilterPacket): number {
  const names = packet.tcpFlags ?? (packet.state === 'new' ? (['syn'] as const) : (['ack'] as const));
  return names.reduce((sum, name) => sum | TCP_FLAGS[name], 0);
}

/** Whether a connection was translated is part of its state for iptables (`--ctstate DNAT`). */
function ctState(packet: FilterPacket): Bits {
  const value = CT_STATE[packet.state] | (packet.dnat === true ? CT_STATE.dnat : 0) | (packet.snat === true ? CT_STATE.snat : 0);
  const unknown = (packet.dnat === undefined ? CT_STATE.dnat : 0) | (packet.snat === undefined ? CT_STATE.snat : 0);
  return { value, known: ~unknown >>> 0 };
}

function ctStatus(packet: FilterPacket): Bits {
  const value = (packet.dnat === true ? CT_STATUS.dnat : 0) | (packet.snat === true ? CT_STATUS.snat : 0);
  const known = (packet.dnat === undefined ? 0 : CT_STATUS.dnat) | (packet.snat === undefined ? 0 : CT_STATUS.snat);
  return { value, known };
}
