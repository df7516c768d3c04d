import type { Node } from '../../model/inventory.ts';

/** A cloud's instance that a node is: in words, and where the cloud keeps what may drop packets of pods. */
export type Instance = { readonly text: string; readonly route: string; readonly sourceCheck: string };

/** The instance of a node by its providerID, or null where it has none or one of a cloud that is not known. */
export function instanceOf({ providerID }: Pick<Node, 'providerID'>): Instance | null {
  const [, cloud = '', path = ''] = /^([a-z]+):\/\/(.*)$/.exec(providerID ?? '') ?? [];
  const parts = path.split('/').filter((part) => part !== '');
  const name = parts.at(-1) ?? '';
  if (name === '') return null;
  switch (cloud) {
    case 'gce':
      return {
        text: `instance ${name} (Google Cloud, project ${parts[0]}, zone ${parts[1]})`,
        route: 'the routes of the VPC (gcloud compute routes list), or the alias range of the instance',
        sourceCheck: 'canIpForward of the instance',
      };
    case 'aws':
      return {
        text: `instance ${name} (AWS, ${parts[0]})`,
        route: "the subnet's route table",
        sourceCheck: 'the source/destination check of the instance and of its network interfaces',
      };
    case 'azure':
      return {
        text: `virtual machine ${name} (Azure)`,
        route: "the subnet's route table",
        sourceCheck: 'IP forwarding of its NIC',
      };
    case 'openstack':
      return {
        text: `server ${name} (OpenStack)`,
        route: 'the routes of the router',
        sourceCheck: 'the allowed address pairs of its port (port security)',
      };
    default:
      return null;
  }
}
