import { describePlace, FAULTS, injectFault } from '../../../test/lab/faults/index.ts';
import { createLab } from '../../../test/lab/lab.ts';
import { type DemoNetwork, STORY } from './network.ts';

const NODES = 6;

/** Faults that differ in what they break and in what netcheck can say of them. */
const OFFERED = [
  STORY.fault,
  'stale-neighbour',
  'forward-drop-nft',
  'vxlan-port-blocked',
  'flannel-fdb-missing',
  'coredns-down',
  'rack-drop-pair',
  'rack-cut-node',
] as const;

/** A lab of this process: real namespaces, real packets. `approvalKey` is the public key that its nodes trust. */
export async function createLabNetwork(approvalKey: string): Promise<DemoNetwork> {
  const lab = await createLab({ nodes: NODES, approvalKey });
  const active = new Set<string>();

  /** One ping in each direction between a pod of the story's node and one of every other node. */
  async function unreachable(): Promise<readonly string[]> {
    const web = lab.topology.pods.filter(({ name }) => name.startsWith('web-'));
    const own = web.filter(({ node }) => node === STORY.node);
    const ways = web
      .filter(({ node }) => node !== STORY.node)
      .flatMap((other) => own.flatMap((mine) => [[mine, other] as const, [other, mine] as const]));
    const failed = await Promise.all(
      ways.map(async ([from, to]) => {
        const client = `default/client-${lab.node(from.node).index}`;
        const { exitCode } = await lab.exec(client, ['ping', '-q', '-c', '1', '-W', '1', to.ip]);
        return exitCode === 0 ? [] : [`${client} > ${to.namespace}/${to.name}`];
      }),
    );
    return failed.flat();
  }

  return {
    title: `${lab.topology.nodes.length} nodes and ${lab.topology.pods.length} pods in network namespaces of this machine`,
    cluster: { kubeconfig: lab.kubeconfig, context: `${lab.name}-worker` },
    openCluster: null,
    faults: OFFERED.map((name) => ({ name, title: FAULTS[name]?.title ?? name })),
    active: () => [...active],
    async inject(name) {
      const placement = FAULTS[name]?.placement;
      const place = placement === 'cluster' ? {} : { node: STORY.node, ...(placement === 'pair' ? { peer: STORY.peer } : {}) };
      const { fault, at } = await injectFault(lab, name, place);
      active.add(name);
      return `${fault.title}, ${describePlace(fault, at)}`;
    },
    async heal(name) {
      await lab.heal(name);
      active.delete(name);
    },
    unreachable,
    proof: 'pinged from pod to pod',
    close: lab.down,
  };
}
