import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { nearNames } from '../../../src/model/near-names.ts';
import { own } from '../../../src/model/own.ts';
import { messageOf } from '../../../src/model/text.ts';
import type { Handle } from '../handle.ts';
import type { NetworkKind } from '../topology.ts';
import { agentHangs, agentMissing, execDropped, execForbidden } from './agents.ts';
import { cloudRouteMissing, cloudSourceCheck } from './cloud.ts';
import {
  conntrackTableFull,
  conntrackTableNearlyFull,
  dnsPairRace,
  natPortsExhausted,
  natPortsNearlyExhausted,
  staleUdpConntrack,
} from './conntrack.ts';
import {
  corednsAlone,
  corednsBlackholed,
  corednsCrashing,
  corednsDown,
  corednsLoop,
  corednsNxdomain,
  corednsOnOneNode,
  corednsRefused,
  corednsServfail,
  dnsNoEndpoints,
} from './dns.ts';
import type { At, Fault } from './fault.ts';
import {
  forwardDropNft,
  forwardRejectIptablesNft,
  forwardRejectLegacy,
  icmpFiltered,
  inputDropVxlan,
  nftMapDropsKubelet,
  rawDropVxlan,
} from './filters.ts';
import { foreignFirewallFirewalld, foreignFirewallUfw } from './firewalls.ts';
import {
  flannelNetworkMismatch,
  flannelNotRunning,
  flannelPodMissing,
  flannelPublicIpDuplicate,
  flannelPublicIpForeign,
  flannelSubnetMissing,
  flannelSubnetWrong,
  flannelVtepMacChanged,
  flannelVtepMacDuplicate,
  flannelWrongInterface,
  vxlanChecksumWrong,
} from './flannel.ts';
import { forwardingOffOnInterface, ipForwardOff, ipForwardOffByFile } from './forwarding.ts';
import { hostGwPeerOffLink, hostGwRouteMissing } from './host-gw.ts';
import { flannelBackendDiffers, proxyModeDiffers } from './kinds.ts';
import { clockWrong, cpuStolen } from './machine.ts';
import { networkdTookRoute, networkManagerTookRoute } from './managers.ts';
import {
  addressConflict,
  neighboursUnresolved,
  neighbourTableWasFull,
  staleNeighbour,
  staleNeighbourPermanent,
} from './neighbours.ts';
import { nodeLocalDns, nodeLocalDnsBypassed, nodeLocalDnsDown } from './node-local.ts';
import {
  masqueradeExcluded,
  masqueradeRuleMissing,
  nodeOutsideUnreachable,
  nodeResolversDiffer,
  outsideUnreachable,
  upstreamDnsServfail,
  upstreamDnsSilent,
} from './outside.ts';
import {
  flannelFdbMissing,
  flannelFdbStale,
  flannelNeighbourMissing,
  flannelNeighbourStale,
  flannelRouteMissing,
  flannelRouteStale,
  vxlanDeviceDown,
  vxlanPortMismatch,
  vxlanPortNotRolledOut,
  vxlanPortTaken,
  vxlanVniMismatch,
} from './overlay.ts';
import {
  acceptQueueOverflow,
  declaredPortNotListening,
  hostNetworkDnsPolicy,
  leftoverProcess,
  listensOnLoopbackOnly,
  namedPodRefuses,
  podAddressMissing,
  podDefaultRouteMissing,
  podGatewayWrong,
  podLinkDown,
  podMacElsewhere,
  podNameserverWrong,
  podNeighbourStale,
  podOffBridge,
  podRouteMissing,
  podSearchWrong,
  portNotListening,
} from './pods.ts';
import {
  networkPolicyDefaultDeny,
  networkPolicyDeniesProbes,
  networkPolicyNamesServicePort,
  networkPolicyNotEnforced,
  networkPolicyPeerMatchesNothing,
  networkPolicySelectsNothing,
} from './policies.ts';
import { localPortsOverlap, masqueradeAgentRandom } from './ports.ts';
import {
  pathMtuBlackHole,
  rackCutNode,
  rackDropApiServer,
  rackDropIp,
  rackDropKubeletPort,
  rackDropPair,
  rackDropPairOneWay,
  rackLossOneWay,
  rackSplitGroups,
  securitySoftware,
  vxlanPortBlocked,
  vxlanPortBlockedOneWay,
} from './rack.ts';
import { endpointOfTerminatingPod, endpointWithoutPod, graceShorterThanPreStop, kubeletProbeFailing } from './rollouts.ts';
import { blackholeRoute, bridgeDown, containerNetworkSteals, podCidrOverlap, policyRuleSteals } from './routes.ts';
import {
  bridgeNetfilterOff,
  kubeRulesStale,
  kubeRulesTwice,
  kubernetesServiceRulesMissing,
  serviceRulesFlushed,
  serviceRulesMissingNft,
  serviceRulesStale,
  serviceRulesStaleNft,
} from './services.ts';
import { listenQueueFull, timestampsRejected } from './tcp.ts';
import {
  carrierLost,
  defaultRouteMissing,
  interfaceDown,
  rpFilterStrict,
  switchPortMtu,
  uplinkMtuLarger,
  uplinkMtuSmaller,
} from './uplink.ts';
import { webhookBlocked, webhookCallFailed, webhookRefused, webhookWithoutEndpoints } from './webhooks.ts';
import { otherNode } from './where.ts';

/** Every fault that can be put into a lab, by its name. */
export const FAULTS: Readonly<Record<string, Fault>> = Object.fromEntries(
  [
    ipForwardOff,
    ipForwardOffByFile,
    forwardingOffOnInterface,
    forwardRejectLegacy,
    forwardRejectIptablesNft,
    forwardDropNft,
    inputDropVxlan,
    rawDropVxlan,
    nftMapDropsKubelet,
    foreignFirewallFirewalld,
    foreignFirewallUfw,
    staleNeighbour,
    staleNeighbourPermanent,
    addressConflict,
    neighboursUnresolved,
    neighbourTableWasFull,
    pathMtuBlackHole,
    vxlanPortBlocked,
    vxlanPortBlockedOneWay,
    vxlanVniMismatch,
    vxlanPortMismatch,
    vxlanPortNotRolledOut,
    vxlanPortTaken,
    vxlanDeviceDown,
    flannelFdbMissing,
    flannelFdbStale,
    flannelNeighbourMissing,
    flannelNeighbourStale,
    flannelRouteMissing,
    flannelRouteStale,
    cloudRouteMissing,
    cloudSourceCheck,
    proxyModeDiffers,
    flannelBackendDiffers,
    hostGwRouteMissing,
    hostGwPeerOffLink,
    vxlanChecksumWrong,
    flannelNotRunning,
    flannelPodMissing,
    flannelSubnetMissing,
    flannelSubnetWrong,
    flannelNetworkMismatch,
    flannelWrongInterface,
    flannelPublicIpForeign,
    flannelPublicIpDuplicate,
    flannelVtepMacChanged,
    flannelVtepMacDuplicate,
    blackholeRoute,
    policyRuleSteals,
    containerNetworkSteals,
    podCidrOverlap,
    networkManagerTookRoute,
    networkdTookRoute,
    bridgeDown,
    interfaceDown,
    carrierLost,
    rpFilterStrict,
    defaultRouteMissing,
    uplinkMtuSmaller,
    uplinkMtuLarger,
    switchPortMtu,
    icmpFiltered,
    conntrackTableFull,
    conntrackTableNearlyFull,
    dnsPairRace,
    natPortsExhausted,
    natPortsNearlyExhausted,
    staleUdpConntrack,
    listenQueueFull,
    timestampsRejected,
    cpuStolen,
    clockWrong,
    localPortsOverlap,
    masqueradeAgentRandom,
    corednsDown,
    corednsBlackholed,
    corednsServfail,
    corednsRefused,
    corednsNxdomain,
    corednsCrashing,
    corednsLoop,
    dnsNoEndpoints,
    corednsAlone,
    corednsOnOneNode,
    nodeLocalDns,
    nodeLocalDnsDown,
    nodeLocalDnsBypassed,
    upstreamDnsSilent,
    upstreamDnsServfail,
    nodeResolversDiffer,
    masqueradeRuleMissing,
    masqueradeExcluded,
    outsideUnreachable,
    nodeOutsideUnreachable,
    kubernetesServiceRulesMissing,
    serviceRulesFlushed,
    serviceRulesMissingNft,
    serviceRulesStale,
    serviceRulesStaleNft,
    webhookBlocked,
    webhookRefused,
    webhookWithoutEndpoints,
    webhookCallFailed,
    bridgeNetfilterOff,
    kubeRulesStale,
    kubeRulesTwice,
    networkPolicyDefaultDeny,
    rackCutNode,
    rackDropIp,
    rackDropPair,
    rackDropPairOneWay,
    rackLossOneWay,
    rackSplitGroups,
    securitySoftware,
    rackDropKubeletPort,
    rackDropApiServer,
    agentMissing,
    agentHangs,
    execDropped,
    execForbidden,
    acceptQueueOverflow,
    leftoverProcess,
    listensOnLoopbackOnly,
    podAddressMissing,
    podDefaultRouteMissing,
    podGatewayWrong,
    podLinkDown,
    podMacElsewhere,
    podNameserverWrong,
    podNeighbourStale,
    podOffBridge,
    podRouteMissing,
    podSearchWrong,
    portNotListening,
    networkPolicyDeniesProbes,
    networkPolicyNotEnforced,
    networkPolicyNamesServicePort,
    networkPolicySelectsNothing,
    networkPolicyPeerMatchesNothing,
    endpointWithoutPod,
    endpointOfTerminatingPod,
    graceShorterThanPreStop,
    kubeletProbeFailing,
    namedPodRefuses,
    declaredPortNotListening,
    hostNetworkDnsPolicy,
  ].map((fault) => [fault.name, fault]),
);

const Active = z.array(
  z.strictObject({
    name: z.string(),
    at: z.strictObject({ node: z.string(), peer: z.string() }),
    saved: z.record(z.string(), z.string()),
  }),
);
type Active = z.infer<typeof Active>;

/**
 * Puts a fault into a lab, proves that it is there and returns where. Without a place it takes the second node, and the
 * third as its peer, as far as there are so many. Throws for an unknown fault or node, for one that is there already, when
 * it cannot be put in, and when the proof fails; after the last alone the lab is as it was.
 */
export async function injectFault(lab: Handle, name: string, place: Partial<At> = {}): Promise<{ fault: Fault; at: At }> {
  const fault = findFault(name);
  if (!networksOf(fault).includes(lab.topology.network))
    throw new Error(`${name} needs a lab with --network ${networksOf(fault).join(' or ')}; this one has ${lab.topology.network}`);
  const at = choosePlace(lab, fault, place);
  const active = readActive(lab);
  if (active.some((other) => other.name === name && (fault.placement === 'cluster' || other.at.node === at.node))) {
    throw new Error(`${name} is there already: heal it first`);
  }
  const saved = await fault.inject(lab, at).catch((error: unknown) => {
    const left = 'what it had done by then is still there, so take the lab down';
    throw new Error(`${name} could not be put in (${left}): ${messageOf(error)}`, { cause: error });
  });
  writeActive(lab, [...active, { name, at, saved }]);
  try {
    await fault.prove(lab, at);
  } catch (error) {
    await healFault(lab, name, at.node);
    throw new Error(`${name} was not really there after it was put in: ${messageOf(error)}`, { cause: error });
  }
  return { fault, at };
}

/**
 * Takes a fault out of a lab again, from one node or from wherever it is, and empties the nodes' learnt neighbours and
 * connection tracking, so that nothing remembers it. Throws when it is not there.
 */
export async function healFault(lab: Handle, name: string, node?: string): Promise<void> {
  const fault = findFault(name);
  const active = readActive(lab);
  const healed = active.filter((other) => other.name === name && (node === undefined || other.at.node === node));
  if (healed.length === 0) {
    const there = active.map((other) => other.name).join(', ') || 'none';
    throw new Error(`${name} is not in this lab (there: ${there})`);
  }
  for (const { at, saved } of healed) await fault.heal(lab, at, saved);
  writeActive(
    lab,
    active.filter((other) => !healed.includes(other)),
  );
  const names = lab.topology.nodes.map((each) => each.name).join(' ');
  await lab.sh('rack', `for n in ${names}; do ip -n $n neigh flush all; ip netns exec $n conntrack -F 2>/dev/null; done`);
}

/** The kinds of lab that a fault can be put into. */
export function networksOf({ networks = ['vxlan'] }: Pick<Fault, 'networks'>): readonly NetworkKind[] {
  return networks;
}

/** What a fault is put at, in words: `on node-2`, `from node-2 to node-3`. */
export function describePlace(fault: Fault, at: At): string {
  if (fault.placement === 'cluster') return 'in the whole lab';
  return fault.placement === 'node' ? `on ${at.node}` : `from ${at.node} to ${at.peer}`;
}

/** The fault of this name. Throws with near names when there is none. */
function findFault(name: string): Fault {
  const fault = own(FAULTS, name);
  if (fault !== undefined) return fault;
  const near = nearNames(name, Object.keys(FAULTS));
  const meant = near.length === 0 ? '' : ` Did you mean ${near.join(' or ')}?`;
  throw new Error(`there is no fault '${name}'.${meant} List them with: npm run lab -- faults`);
}

function choosePlace(lab: Handle, fault: Fault, place: Partial<At>): At {
  if (fault.placement === 'cluster' && (place.node ?? place.peer) !== undefined)
    throw new Error(`${fault.name} concerns the whole lab: it takes no node`);
  if (fault.placement === 'node' && place.peer !== undefined)
    throw new Error(`${fault.name} is put on one node: it takes no peer`);
  const [first, second, third] = lab.topology.nodes;
  const node = place.node ?? (second ?? first)?.name ?? '';
  lab.node(node);
  const peer = place.peer ?? (third !== undefined && third.name !== node ? third.name : otherNode(lab, node)) ?? node;
  lab.node(peer);
  if (fault.placement === 'pair' && node === peer) throw new Error(`${fault.name} needs two different nodes, not ${node} twice`);
  return { node, peer };
}

function activeFile(lab: Handle): string {
  return join(lab.directory, 'faults.json');
}

function readActive(lab: Handle): Active {
  try {
    return Active.parse(JSON.parse(readFileSync(activeFile(lab), 'utf8')));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

function writeActive(lab: Handle, active: Active): void {
  writeFileSync(activeFile(lab), JSON.stringify(active));
}
