import { request } from 'node:https';
import { nearNames } from '../../src/model/near-names.ts';
import { enter } from './rack.ts';
import { type RunOptions, type RunResult, run } from './run.ts';
import { type LabState, readState } from './state.ts';
import { type LabNode, type LabPod, RACK, type Topology } from './topology.ts';

/**
 * Where in a lab a command runs: `rack` (the switch between the nodes, its ports named like the nodes), `cp` and `gw`
 * (the control plane and the gateway), a node such as `node-2`, or a pod such as `default/web-1`.
 */
export type Place = string;

/** An answer of the lab's API server. */
export type ApiAnswer = { readonly status: number; readonly body: unknown };

/** A running lab, this process's own or another's. */
export type Handle = {
  readonly name: string;
  readonly directory: string;
  readonly kubeconfig: string;
  readonly topology: Topology;
  /** The node of this name. Throws with near names when there is none. */
  readonly node: (name: string) => LabNode;
  /** The pod of this name, `NAMESPACE/NAME`. Throws with near names when there is none. */
  readonly pod: (name: string) => LabPod;
  /** What to run on this machine so that `argv` runs, as root, in the namespaces of a place. */
  readonly command: (where: Place, argv: readonly string[]) => string[];
  /** Runs a command in a place, to its end, whatever its exit code. */
  readonly exec: (where: Place, argv: readonly string[], options?: RunOptions) => Promise<RunResult>;
  /** Runs lines of POSIX sh in a place and returns their output. Throws with it when one fails. */
  readonly sh: (where: Place, script: string) => Promise<string>;
  /** Sends a request to the API server as an administrator. Throws when it is refused, but for the given status codes. */
  readonly api: (method: string, path: string, body?: object, allowed?: readonly number[]) => Promise<ApiAnswer>;
};

/** A running lab by its name. Throws when there is none, with the names of those that run. */
export function openLab(name: string): Handle {
  return openHandle(readState(name));
}

/** What can be done with the lab of this state. */
export function openHandle(state: LabState): Handle {
  const { topology } = state;
  const pods = new Map(topology.pods.map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
  const nodes = new Map(topology.nodes.map((node) => [node.name, node]));

  function node(name: string): LabNode {
    return nodes.get(name) ?? refuse('node', name, [...nodes.keys()]);
  }

  function pod(name: string): LabPod {
    return pods.get(name) ?? refuse('pod', name, [...pods.keys()]);
  }

  function command(where: Place, argv: readonly string[]): string[] {
    if (where === 'rack') return [...enter(state.rack), ...argv];
    if (where === RACK.controlPlane.name || where === RACK.gateway.name) {
      return [...enter(state.rack), 'ip', 'netns', 'exec', where, ...argv];
    }
    if (!where.includes('/') && !nodes.has(where)) {
      return refuse('place', where, ['rack', RACK.controlPlane.name, RACK.gateway.name, ...nodes.keys(), ...pods.keys()]);
    }
    const target = where.includes('/') ? pod(where) : null;
    const init = state.nodes[target?.node ?? where];
    if (init === undefined) throw new Error(`${where} has no process: the lab was not built to its end`);
    const inside = target?.network == null ? [] : ['ip', 'netns', 'exec', target.network.netns];
    return [...enter(init), ...inside, ...argv];
  }

  async function exec(where: Place, argv: readonly string[], options?: RunOptions): Promise<RunResult> {
    return run(command(where, argv), options);
  }

  async function sh(where: Place, script: string): Promise<string> {
    const result = await exec(where, ['sh', '-eu'], { stdin: script });
    if (result.exitCode === 0) return result.stdout;
    throw new Error(`in ${where}: exit ${result.exitCode} of\n${script.trim()}\n${result.stdout}${result.stderr}`);
  }

  async function api(method: string, path: string, body?: object, allowed: readonly number[] = []): Promise<ApiAnswer> {
    const answer = await send(state.api, method, path, body);
    if ((answer.status >= 200 && answer.status < 300) || allowed.includes(answer.status)) return answer;
    throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  return {
    name: state.name,
    directory: state.directory,
    kubeconfig: state.kubeconfig,
    topology,
    node,
    pod,
    command,
    exec,
    sh,
    api,
  };
}

function refuse(kind: string, name: string, names: readonly string[]): never {
  const near = nearNames(name, names);
  const shown =
    near.length > 0
      ? `did you mean ${near.join(' or ')}?`
      : `there are ${names.slice(0, 12).join(', ')}${names.length > 12 ? ' …' : ''}`;
  throw new Error(`the lab has no ${kind} '${name}': ${shown}`);
}

function send({ server, ca, token }: LabState['api'], method: string, path: string, body?: object): Promise<ApiAnswer> {
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': type }) };
  return new Promise((resolve, reject) => {
    const call = request(`${server}${path}`, { method, ca, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text === '' ? null : JSON.parse(text) }));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(body === undefined ? '' : JSON.stringify(body));
  });
}
