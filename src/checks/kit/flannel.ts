import { z } from 'zod';
import type { Inventory, Node } from '../../model/inventory.ts';
import { firstIPv4 } from './cidr.ts';

const PREFIX = 'flannel.alpha.coreos.com';
const BackendData = z.object({ VtepMAC: z.string() });
const NetConf = z.object({ Backend: z.object({ Type: z.string(), Port: z.int().optional(), VNI: z.int().optional() }) });

/** What flannel on a node has told the others: address, MAC address of its VTEP, and the pod network behind it. */
export type FlannelNode = { readonly node: Node; readonly publicIp: string; readonly vtepMac: string; readonly podCIDR: string };

/** The nodes that run flannel's vxlan backend, by their annotations. Source: flannel, pkg/subnet/kube. */
export function flannelNodes(inventory: Inventory): readonly FlannelNode[] {
  return inventory.nodes.flatMap((node) => {
    const publicIp = node.annotations[`${PREFIX}/public-ip`];
    const podCIDR = firstIPv4(node.podCIDRs);
    const data = parse(BackendData, node.annotations[`${PREFIX}/backend-data`]);
    if (node.annotations[`${PREFIX}/backend-type`] !== 'vxlan' || publicIp === undefined || podCIDR === null || data === null)
      return [];
    return [{ node, publicIp, podCIDR, vtepMac: data.VtepMAC.toLowerCase() }];
  });
}

/** VNI and UDP port of flannel's configuration, with the kernel's defaults where it is silent, or null. */
export function netConf(inventory: Inventory): { readonly vni: number; readonly port: number; readonly source: string } | null {
  for (const name of ['kube-flannel/kube-flannel-cfg', 'kube-system/kube-flannel-cfg']) {
    const config = parse(NetConf, inventory.configs[name]?.['net-conf.json']);
    if (config?.Backend.Type === 'vxlan')
      return { vni: config.Backend.VNI ?? 1, port: config.Backend.Port ?? 8472, source: `ConfigMap ${name}` };
  }
  return null;
}

function parse<T>(schema: z.ZodType<T>, text: string | undefined): T | null {
  try {
    return schema.parse(JSON.parse(text ?? ''));
  } catch {
    return null;
  }
}
