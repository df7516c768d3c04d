import { apiServerToKubelet } from './api/api-server-to-kubelet/index.ts';
import { apiServerToWebhook } from './api/api-server-to-webhook/index.ts';
import { kubernetesService } from './api/kubernetes-service/index.ts';
import { webhookFailing } from './api/webhook-failing/index.ts';
import { webhookUnreachable } from './api/webhook-unreachable/index.ts';
import { cloudDropsPods } from './cloud/cloud-drops-pods/index.ts';
import { nodesDisagree } from './cluster/nodes-disagree/index.ts';
import { clusterDns } from './dns/cluster-dns/index.ts';
import { corednsMetrics } from './dns/coredns-metrics/index.ts';
import { corednsUnavailable } from './dns/coredns-unavailable/index.ts';
import { dnsFailsAcrossNodes } from './dns/dns-fails-across-nodes/index.ts';
import { dnsPair } from './dns/dns-pair/index.ts';
import { dnsServerError } from './dns/dns-server-error/index.ts';
import { nodeLocalDns } from './dns/node-local-dns/index.ts';
import { nodeLocalDnsFails } from './dns/node-local-dns-fails/index.ts';
import { upstreamDns } from './dns/upstream-dns/index.ts';
import { upstreamDnsFails } from './dns/upstream-dns-fails/index.ts';
import { egressFails } from './egress/egress-fails/index.ts';
import { podToOutside } from './egress/pod-to-outside/index.ts';
import { flannelNotRunning } from './flannel/flannel-not-running/index.ts';
import { hostGwRouteWrong } from './flannel/host-gw-route-wrong/index.ts';
import { peerEntriesWrong } from './flannel/peer-entries-wrong/index.ts';
import { publicAddressWrong } from './flannel/public-address-wrong/index.ts';
import { vtepMacWrong } from './flannel/vtep-mac-wrong/index.ts';
import { vxlanChecksumWrong } from './flannel/vxlan-checksum-wrong/index.ts';
import { vxlanPortBlocked } from './flannel/vxlan-port-blocked/index.ts';
import { vxlanSettingsMismatch } from './flannel/vxlan-settings-mismatch/index.ts';
import type { Check } from './kit/check.ts';
import type { ProbeKind } from './kit/probe.ts';
import { addressConflict } from './linux/address-conflict/index.ts';
import { bridgeDown } from './linux/bridge-down/index.ts';
import { bridgeNetfilterOff } from './linux/bridge-netfilter-off/index.ts';
import { conntrackPressure } from './linux/conntrack-pressure/index.ts';
import { conntrackWasFull } from './linux/conntrack-was-full/index.ts';
import { defaultRouteMissing } from './linux/default-route-missing/index.ts';
import { filterRuleDrops } from './linux/filter-rule-drops/index.ts';
import { foreignFirewall } from './linux/foreign-firewall/index.ts';
import { ipForwardOff } from './linux/ip-forward-off/index.ts';
import { kubeRulesTwice } from './linux/kube-rules-twice/index.ts';
import { listenQueueOverflow } from './linux/listen-queue-overflow/index.ts';
import { mtuTooLarge } from './linux/mtu-too-large/index.ts';
import { natPortsExhausted } from './linux/nat-ports-exhausted/index.ts';
import { neighbourTableFull } from './linux/neighbour-table-full/index.ts';
import { neighbourTableWasFull } from './linux/neighbour-table-was-full/index.ts';
import { networkManagerInterferes } from './linux/network-manager-interferes/index.ts';
import { nodeSlow } from './linux/node-slow/index.ts';
import { podCidrOverlap } from './linux/pod-cidr-overlap/index.ts';
import { portRangesOverlap } from './linux/port-ranges-overlap/index.ts';
import { providerLimitExceeded } from './linux/provider-limit-exceeded/index.ts';
import { routeLeadsAstray } from './linux/route-leads-astray/index.ts';
import { rpFilterDrops } from './linux/rp-filter-drops/index.ts';
import { securitySoftware } from './linux/security-software/index.ts';
import { serviceRulesStale } from './linux/service-rules-stale/index.ts';
import { staleNeighbour } from './linux/stale-neighbour/index.ts';
import { staleUdpConntrack } from './linux/stale-udp-conntrack/index.ts';
import { timestampsRejected } from './linux/timestamps-rejected/index.ts';
import { uplinkTrouble } from './linux/uplink-trouble/index.ts';
import { fullSizePackets } from './mesh/full-size-packets/index.ts';
import { icmpFiltered } from './mesh/icmp-filtered/index.ts';
import { nodeToNode } from './mesh/node-to-node/index.ts';
import { nodeToPod } from './mesh/node-to-pod/index.ts';
import { nodeToPodNetwork } from './mesh/node-to-pod-network/index.ts';
import { pathMtuBlackHole } from './mesh/path-mtu-black-hole/index.ts';
import { podToGateway } from './mesh/pod-to-gateway/index.ts';
import { podToPod } from './mesh/pod-to-pod/index.ts';
import { podToServiceOnNode } from './mesh/pod-to-service-on-node/index.ts';
import { acceptQueueOverflow } from './pods/accept-queue-overflow/index.ts';
import { endpointOutdated } from './pods/endpoint-outdated/index.ts';
import { kubeletProbeFailing } from './pods/kubelet-probe-failing/index.ts';
import { leftoverProcess } from './pods/leftover-process/index.ts';
import { namedPod } from './pods/named-pod/index.ts';
import { podDetached } from './pods/pod-detached/index.ts';
import { podResolverWrong } from './pods/pod-resolver-wrong/index.ts';
import { podRoutesWrong } from './pods/pod-routes-wrong/index.ts';
import { policyDenies } from './pods/policy-denies/index.ts';
import { policyMistaken } from './pods/policy-mistaken/index.ts';
import { portNotListening } from './pods/port-not-listening/index.ts';
import { rolloutHazards } from './pods/rollout-hazards/index.ts';

/** Every check, by its folder. A test compares this map with the directory. */
export const CHECKS: Readonly<Record<string, Check>> = {
  'linux/filter-rule-drops': filterRuleDrops,
  'linux/foreign-firewall': foreignFirewall,
  'linux/ip-forward-off': ipForwardOff,
  'linux/stale-neighbour': staleNeighbour,
  'mesh/icmp-filtered': icmpFiltered,
  'mesh/path-mtu-black-hole': pathMtuBlackHole,
  'cloud/cloud-drops-pods': cloudDropsPods,
  'cluster/nodes-disagree': nodesDisagree,
  'flannel/flannel-not-running': flannelNotRunning,
  'flannel/host-gw-route-wrong': hostGwRouteWrong,
  'flannel/vxlan-checksum-wrong': vxlanChecksumWrong,
  'flannel/peer-entries-wrong': peerEntriesWrong,
  'flannel/public-address-wrong': publicAddressWrong,
  'flannel/vtep-mac-wrong': vtepMacWrong,
  'flannel/vxlan-port-blocked': vxlanPortBlocked,
  'flannel/vxlan-settings-mismatch': vxlanSettingsMismatch,
  'linux/address-conflict': addressConflict,
  'dns/dns-fails-across-nodes': dnsFailsAcrossNodes,
  'dns/dns-server-error': dnsServerError,
  'linux/route-leads-astray': routeLeadsAstray,
  'linux/bridge-down': bridgeDown,
  'linux/conntrack-pressure': conntrackPressure,
  'linux/conntrack-was-full': conntrackWasFull,
  'linux/nat-ports-exhausted': natPortsExhausted,
  'linux/stale-udp-conntrack': staleUdpConntrack,
  'linux/listen-queue-overflow': listenQueueOverflow,
  'linux/timestamps-rejected': timestampsRejected,
  'linux/neighbour-table-full': neighbourTableFull,
  'linux/neighbour-table-was-full': neighbourTableWasFull,
  'linux/port-ranges-overlap': portRangesOverlap,
  'linux/provider-limit-exceeded': providerLimitExceeded,
  'pods/port-not-listening': portNotListening,
  'pods/leftover-process': leftoverProcess,
  'pods/accept-queue-overflow': acceptQueueOverflow,
  'pods/pod-resolver-wrong': podResolverWrong,
  'pods/pod-detached': podDetached,
  'pods/pod-routes-wrong': podRoutesWrong,
  'linux/rp-filter-drops': rpFilterDrops,
  'linux/uplink-trouble': uplinkTrouble,
  'linux/default-route-missing': defaultRouteMissing,
  'linux/mtu-too-large': mtuTooLarge,
  'dns/upstream-dns-fails': upstreamDnsFails,
  'egress/egress-fails': egressFails,
  'linux/node-slow': nodeSlow,
  'pods/endpoint-outdated': endpointOutdated,
  'pods/rollout-hazards': rolloutHazards,
  'pods/kubelet-probe-failing': kubeletProbeFailing,
  'pods/policy-mistaken': policyMistaken,
  'pods/policy-denies': policyDenies,
  'dns/coredns-unavailable': corednsUnavailable,
  'linux/pod-cidr-overlap': podCidrOverlap,
  'linux/network-manager-interferes': networkManagerInterferes,
  'dns/node-local-dns-fails': nodeLocalDnsFails,
  'linux/bridge-netfilter-off': bridgeNetfilterOff,
  'linux/kube-rules-twice': kubeRulesTwice,
  'linux/security-software': securitySoftware,
  'linux/service-rules-stale': serviceRulesStale,
  'api/webhook-unreachable': webhookUnreachable,
  'api/webhook-failing': webhookFailing,
};

/** Every kind of probe, by its folder. */
export const PROBES: Readonly<Record<string, ProbeKind>> = {
  'mesh/node-to-node': nodeToNode,
  'mesh/node-to-pod-network': nodeToPodNetwork,
  'mesh/node-to-pod': nodeToPod,
  'mesh/pod-to-pod': podToPod,
  'mesh/pod-to-gateway': podToGateway,
  'mesh/pod-to-service-on-node': podToServiceOnNode,
  'mesh/full-size-packets': fullSizePackets,
  'dns/coredns-metrics': corednsMetrics,
  'dns/cluster-dns': clusterDns,
  'dns/dns-pair': dnsPair,
  'api/api-server-to-kubelet': apiServerToKubelet,
  'api/api-server-to-webhook': apiServerToWebhook,
  'api/kubernetes-service': kubernetesService,
  'dns/upstream-dns': upstreamDns,
  'egress/pod-to-outside': podToOutside,
  'pods/named-pod': namedPod,
  'dns/node-local-dns': nodeLocalDns,
};
