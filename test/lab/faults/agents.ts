import { z } from 'zod';
import { ExecFault, Faults } from '../api/faults.ts';
import type { Handle } from '../handle.ts';
import { CLUSTER } from '../topology.ts';
import type { Fault } from './fault.ts';

/*
 * What keeps netcheck from looking at a node while the network is fine: no verdict may call such a node healthy.
 */

const SWITCHES = '/_lab/faults';

/** An exec that goes wrong in the API server, for the agents of one node or of all. */
function execFault(name: string, title: string, exec: z.input<typeof ExecFault>, placement: 'node' | 'cluster'): Fault {
  const entry = (node: string): ExecFault => ExecFault.parse({ ...exec, ...(placement === 'node' ? { node } : {}) });
  return {
    name,
    row: 'M',
    title,
    placement,
    async inject(lab, at) {
      const faults = await readSwitches(lab);
      await lab.api('POST', SWITCHES, { ...faults, exec: [...faults.exec, entry(at.node)] });
      return {};
    },
    async prove(lab, at) {
      const wanted = JSON.stringify(entry(at.node));
      const { exec: active } = await readSwitches(lab);
      if (!active.some((fault) => isSame(fault, wanted))) throw new Error(`${name} is not switched on in the API server`);
    },
    async heal(lab, at) {
      const wanted = JSON.stringify(entry(at.node));
      const faults = await readSwitches(lab);
      await lab.api('POST', SWITCHES, { ...faults, exec: faults.exec.filter((fault) => !isSame(fault, wanted)) });
    },
    expects: (lab, at) => {
      const nodes = placement === 'node' ? [at.node] : lab.topology.nodes.map((node) => node.name);
      return { status: 'inconclusive', layer: null, codes: [], nodes: [], notChecked: nodes };
    },
  };
}

function isSame(fault: ExecFault, wanted: string): boolean {
  return JSON.stringify(ExecFault.parse(fault)) === wanted;
}

async function readSwitches(lab: Handle): Promise<Faults> {
  return Faults.parse((await lab.api('GET', SWITCHES)).body);
}

export const agentHangs = execFault(
  'agent-hangs',
  "the exec into a node's agent is accepted and nothing follows",
  { kind: 'hang-after-open' },
  'node',
);

export const execDropped = execFault(
  'exec-dropped',
  "the exec into a node's agent is cut half-way",
  { kind: 'drop', afterBytes: 2000 },
  'node',
);

export const execForbidden = execFault('exec-forbidden', 'exec into the agents is forbidden', { kind: 'forbidden' }, 'cluster');

const SET = `/apis/apps/v1/namespaces/${CLUSTER.agentNamespace}/daemonsets`;
const PODS = `/api/v1/namespaces/${CLUSTER.agentNamespace}/pods`;

const Metadata = z.looseObject({ metadata: z.looseObject({ name: z.string() }) });

export const agentMissing: Fault = {
  name: 'agent-missing',
  row: 'M',
  title: 'a node has no agent pod',
  placement: 'node',
  async inject(lab, at) {
    const name = `netcheck-agent-${lab.node(at.node).index}`;
    const set = (await lab.api('GET', `${SET}/netcheck-agent`)).body;
    const pod = (await lab.api('GET', `${PODS}/${name}`)).body;
    // While there is no DaemonSet, none of its pods comes back.
    await lab.api('DELETE', `${SET}/netcheck-agent`);
    await lab.api('DELETE', `${PODS}/${name}`);
    await lab.api('POST', SET, withoutVersion(set));
    return { pod: JSON.stringify(withoutVersion(pod)) };
  },
  async prove(lab, at) {
    const path = `${PODS}/netcheck-agent-${lab.node(at.node).index}`;
    const { status } = await lab.api('GET', path, undefined, [404]);
    if (status !== 404) throw new Error(`GET ${path} answers ${status}, and must answer 404`);
  },
  async heal(lab, _at, saved) {
    await lab.api('POST', PODS, JSON.parse(saved['pod'] ?? '{}') as object);
  },
  expects: (_lab, at) => ({ status: 'inconclusive', layer: null, codes: [], nodes: [], notChecked: [at.node] }),
};

function withoutVersion(value: unknown): object {
  const object = Metadata.parse(value);
  const { resourceVersion: _version, ...metadata } = object.metadata;
  return { ...object, metadata };
}
