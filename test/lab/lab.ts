import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../src/model/text.ts';
import { startGuard } from '../guard.ts';
import { agentBundle } from './agent.ts';
import { withReadiness } from './api/readiness.ts';
import type { Recreated } from './api/server.ts';
import { writeBuildFiles } from './build.ts';
import { DAEMONS } from './daemons.ts';
import type { At } from './faults/fault.ts';
import { healFault, injectFault } from './faults/index.ts';
import { type Handle, openHandle } from './handle.ts';
import { labObjects, workerUser } from './objects.ts';
import { startRack, visibleDirectories } from './rack.ts';
import { type Servers, serveHttp, serveKubelets, startApi } from './servers.ts';
import { type LabState, ownIdentity, removeLabDirectory, takeLabDirectory, writeState } from './state.ts';
import { type LabPod, MAX_NODES, type NetworkKind, planTopology } from './topology.ts';

export type LabOptions = {
  /** Another for each lab that runs at once; one is made up without it. */
  readonly name?: string;
  readonly nodes: number;
  /** How the pods of different nodes reach each other; by flannel's vxlan without it. */
  readonly network?: NetworkKind;
  /** After how many seconds without an answer of its kubelet a node is no longer Ready; 40 without it, as in life. */
  readonly nodeMonitorSeconds?: number;
  /** The public key, PEM, that approvals are verified with; with it the agents have a remedy container. */
  readonly approvalKey?: string | undefined;
  /** Told what goes wrong in the lab's own servers. */
  readonly log?: (message: string) => void;
};

/** A lab that lives in this process, and ends with it. */
export type Lab = Handle & {
  /** Puts a fault into the lab; see `injectFault`. */
  readonly fault: (name: string, place?: Partial<At>) => Promise<At>;
  /** Takes a fault out again; see `healFault`. */
  readonly heal: (name: string, node?: string) => Promise<void>;
  /** Resolves when the lab has ended, whatever ended it. */
  readonly gone: Promise<void>;
  /** Ends the lab and resolves when nothing of it is left. */
  readonly down: () => Promise<void>;
};

/**
 * Builds a lab and resolves when its network is there and its API server answers. Rejects with a clear message when the
 * machine cannot run one, the name is taken or not usable, or something fails on the way; nothing is left then.
 */
export async function createLab(options: LabOptions): Promise<Lab> {
  const {
    name = `test-${process.pid}-${randomBytes(3).toString('hex')}`,
    nodes,
    network,
    nodeMonitorSeconds = 40,
    approvalKey,
    log = () => {},
  } = options;
  if (process.env['NETCHECK_LAB_MISSING']) {
    throw new Error(`a lab cannot run on this machine: ${process.env['NETCHECK_LAB_MISSING']}`);
  }
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > MAX_NODES)
    throw new Error(`a lab has 1 to ${MAX_NODES} nodes, not ${nodes}`);
  const directory = await takeLabDirectory(name);
  const guard = startGuard('lab-guard', ON_DEATH, directory);
  const open: Servers[] = [];
  let ending: Promise<void> | undefined;
  const down = (): Promise<void> => {
    ending ??= (async () => {
      await Promise.allSettled(open.map((part) => part.close()));
      await removeLabDirectory(directory);
      guard.dismiss();
    })();
    return ending;
  };

  try {
    const topology = planTopology(nodes, network);
    writeBuildFiles(directory, { topology, visible: visibleDirectories(), agent: await agentBundle() });
    const rack = await startRack(directory, topology);
    open.push({ close: rack.stop });
    void rack.gone.then(down);
    open.push(await serveHttp(directory));
    let handle: Handle | undefined;
    const command = (pod: LabPod, argv: readonly string[]): readonly string[] => {
      if (handle === undefined) throw new Error('the node is not ready');
      return handle.command(`${pod.namespace}/${pod.name}`, argv);
    };
    if (approvalKey !== undefined) await writeFile(join(directory, 'run/approval-key.pub'), approvalKey);
    open.push(await serveKubelets({ directory, topology, command, hasRemedies: approvalKey !== undefined, log }));
    await rack.wired;
    const tokens = { admin: newToken(), worker: newToken() };
    const [api, processes] = await Promise.all([
      startApi({
        directory,
        rack: rack.pid,
        topology,
        objects: labObjects(topology, new Date(), approvalKey !== undefined),
        tokens: [
          { token: tokens.admin, user: 'kubernetes-admin', groups: ['system:masters'] },
          { token: tokens.worker, user: workerUser(approvalKey !== undefined), groups: ['system:serviceaccounts'] },
        ],
        nodeMonitorSeconds,
        starting: Object.keys(DAEMONS),
        onStart: (pod) => {
          if (handle !== undefined) void startDaemon(handle, pod, log);
        },
      }),
      rack.nodes,
    ]);
    open.push(api);
    const kubeconfig = join(directory, 'kubeconfig');
    await writeFile(kubeconfig, kubeconfigText(name, api, tokens), { mode: 0o600 });
    const state: LabState = {
      schema: 'netcheck.lab/v1',
      name,
      supervisor: ownIdentity(),
      rack: rack.pid,
      nodes: processes,
      topology,
      api: { server: api.server, ca: api.ca, token: tokens.admin },
      kubeconfig,
      directory,
    };
    await writeState(state);
    const lab = openHandle(state);
    handle = lab;
    return {
      ...lab,
      fault: async (fault, place) => (await injectFault(lab, fault, place)).at,
      heal: (fault, node) => healFault(lab, fault, node),
      gone: rack.gone.then(down),
      down,
    };
  } catch (error) {
    await down();
    throw error;
  }
}

/** Plays the kubelet for the pod of a daemon that came anew: starts it on its node, and says whether it is ready. */
async function startDaemon(lab: Handle, { namespace, name, owner }: Recreated, log: (message: string) => void): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
  try {
    const { body } = await lab.api('GET', path);
    const { spec, status } = body as { spec: { nodeName: string }; status: object };
    const started = await Promise.resolve(DAEMONS[owner]?.(lab, lab.node(spec.nodeName))).then(
      () => null,
      (error: unknown) => messageOf(error),
    );
    if (started !== null) log(`${owner} did not start on ${spec.nodeName}: ${started}`);
    const ready = started === null;
    const state = ready
      ? { running: { startedAt: new Date().toISOString() } }
      : { waiting: { reason: 'CrashLoopBackOff', message: `back-off 10s restarting failed container of ${name}` } };
    await lab.api('PATCH', `${path}/status`, { status: withReadiness(status, ready, state) });
  } catch (error) {
    log(`${namespace}/${name}: ${messageOf(error)}`);
  }
}

function newToken(): string {
  return randomBytes(16).toString('hex');
}

/** A context for an administrator, which is the current one, and one with no more rights than a worker has. */
function kubeconfigText(
  name: string,
  { server, ca }: { readonly server: string; readonly ca: string },
  tokens: { readonly admin: string; readonly worker: string },
): string {
  return `apiVersion: v1
kind: Config
current-context: ${name}
clusters:
  - name: ${name}
    cluster:
      server: ${server}
      certificate-authority-data: ${Buffer.from(ca).toString('base64')}
contexts:
  - name: ${name}
    context: { cluster: ${name}, user: ${name}-admin }
  - name: ${name}-worker
    context: { cluster: ${name}, user: ${name}-worker }
users:
  - name: ${name}-admin
    user: { token: ${tokens.admin} }
  - name: ${name}-worker
    user: { token: ${tokens.worker} }
`;
}

/**
 * Removes the lab's directory. The guard stands in the directory, so that it can never remove another lab's that got the
 * name since.
 */
const ON_DEATH = 'cd "$1" || exit; read -r _ && exit; rm -rf ./*; [ "$1" -ef . ] && rmdir "$1" && rmdir "${1%/*}"';
