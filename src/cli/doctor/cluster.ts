import { CHECKS } from '../../checks/index.ts';
import type { Reading, Readings } from '../../checks/kit/check.ts';
import { findAgent } from '../../cluster/kubernetes/agents.ts';
import { createKubernetesCluster, type KubernetesCluster } from '../../cluster/kubernetes/index.ts';
import { CONFIG_MAPS, type Right, rights } from '../../cluster/kubernetes/rights.ts';
import type { Access, ClusterResult } from '../../cluster/port.ts';
import type { ClusterConfig } from '../../config.ts';
import { PLANNING } from '../../diagnosis/collect.ts';
import { nodesToAsk, probePodOf } from '../../diagnosis/plan.ts';
import { openSession } from '../../diagnosis/session.ts';
import { readingTasks } from '../../diagnosis/tasks.ts';
import type { NodeEvidence } from '../../model/evidence.ts';
import type { Inventory } from '../../model/inventory.ts';
import { failed, type Item, isFine, LIMIT_MS, named, notChecked, quoted, warning } from './item.ts';

/** An agent is a process that has to start, on a node that may be busy. Milliseconds. */
const AGENT_MS = 10_000;
/** Agents give up a worker that is silent for three seconds. */
const BEAT_MS = 1_000;

/** What no worker needs, and nobody who takes one over should have. */
const DENIED: readonly Access[] = [
  { verb: 'get', group: '', resource: 'secrets' },
  { verb: 'list', group: '', resource: 'secrets' },
  { verb: 'create', group: '', resource: 'pods' },
  { verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace: 'kube-system' },
];

/** What can be said about one cluster, with the rights of whoever asks. Reads, and starts the agents' reading part. */
export async function checkCluster(name: string, config: ClusterConfig, version: string): Promise<readonly Item[]> {
  const { kubeconfig, context, agentNamespace } = config;
  const opened = createKubernetesCluster({
    name,
    kubeconfig,
    context,
    agentNamespace,
    timeoutMs: LIMIT_MS,
    log: { debug: () => undefined },
  });
  if (!opened.ok) {
    return [
      failed(quoted(opened.fault.message), `set clusters.${name}.kubeconfig in netcheck.yaml to a file that kubectl can use`),
    ];
  }
  const cluster = opened.value;
  try {
    const [inventory, may] = await Promise.all([
      cluster.inventory(AbortSignal.timeout(LIMIT_MS)),
      checkRights(cluster, agentNamespace),
    ]);
    if (!inventory.ok) {
      const flags = [
        ...(kubeconfig === undefined ? [] : [`--kubeconfig ${kubeconfig}`]),
        ...(context === undefined ? [] : [`--context ${context}`]),
      ];
      const message = `the cluster cannot be read: ${quoted(inventory.fault.message)}`;
      return [
        failed(message, ['kubectl', ...flags, 'get nodes'].join(' ')),
        ...may,
        notChecked('the agents: which nodes there are is not known'),
      ];
    }
    return [
      ...judgeServer(inventory.value),
      ...may,
      ...judgePods(inventory.value),
      ...(await checkAgents(cluster, inventory.value, version)),
    ];
  } finally {
    await cluster.close();
  }
}

function judgeServer(inventory: Inventory): Item[] {
  const { apiServer, version, services, endpoints, gaps } = inventory;
  const answer =
    version === 'unknown'
      ? warning(`the API server at ${apiServer} answers, but does not tell its version`)
      : isFine(`the API server at ${apiServer} answers: Kubernetes ${quoted(version)}`);
  const host = new URL(apiServer).hostname.replaceAll(/^\[|\]$/g, '');
  const service = services.find((one) => one.namespace === 'default' && one.name === 'kubernetes');
  const isName = /^kubernetes(\.default(\.svc(\..+)?)?)?$/.test(host);
  if (service === undefined && !isName) {
    const why = gaps.find(({ what }) => what === 'services')?.reason ?? 'there is no Service default/kubernetes';
    return [answer, notChecked(`whether that is a real address or a ClusterIP: ${quoted(why)}`)];
  }
  if (host !== service?.clusterIP && !isName)
    return [answer, isFine('that address does not depend on the network that is diagnosed')];
  const [real] = endpoints.filter((one) => one.namespace === 'default' && one.service === 'kubernetes' && one.ready);
  const [port] = real?.ports ?? [];
  const lines =
    real === undefined
      ? 'KUBERNETES_SERVICE_HOST=ADDRESS and KUBERNETES_SERVICE_PORT=PORT'
      : `KUBERNETES_SERVICE_HOST=${real.ip} and KUBERNETES_SERVICE_PORT=${port?.port ?? 'PORT'}`;
  return [
    answer,
    warning(
      `${host} is the ClusterIP or the name of the Service default/kubernetes: with a broken kube-proxy or DNS netcheck could not look`,
      `write ${lines} into api-server.env of the overlay, if the server's certificate names that address (kubectl -n default get endpointslices -l kubernetes.io/service-name=kubernetes lists them all)`,
    ),
  ];
}

/** Every right that is needed, asked of the API server one by one, and a few that nobody should have. */
async function checkRights(cluster: KubernetesCluster, agents: string): Promise<Item[]> {
  const signal = AbortSignal.timeout(LIMIT_MS);
  const needed = rights().filter(({ isForRemedies }) => !isForRemedies);
  const [missing, surplus] = await Promise.all([
    Promise.all(
      needed.map(async (right) => {
        const answers = await Promise.all(accessesOf(right, agents).map((access) => cluster.canI(access, signal)));
        return { right, answer: answers.find((one) => !one.ok || !one.value) ?? answers[0] };
      }),
    ),
    Promise.all(DENIED.map(async (access) => ({ access, answer: await cluster.canI(access, signal) }))),
  ]);
  return [...judgeNeeded(missing, agents), ...judgeSurplus(surplus)];
}

type Answer = ClusterResult<boolean> | undefined;

function judgeNeeded(asked: readonly { readonly right: Right; readonly answer: Answer }[], agents: string): Item[] {
  const broken = asked.map(({ answer }) => answer).find((answer) => answer?.ok !== true);
  if (broken !== undefined)
    return [
      notChecked(
        `the rights: ${broken.ok ? '' : quoted(broken.fault.message)}`,
        'kubectl auth can-i --list --as system:serviceaccount:netcheck:netcheck-worker',
      ),
    ];
  const denied = asked.filter(({ answer }) => answer?.ok === true && !answer.value);
  if (denied.length === 0) return [isFine(`all ${asked.length} rights that are needed are there`)];
  return denied.map(({ right }) => {
    const where = right.isForAgents ? agents : right.namespace;
    const scope = where === null ? '-A' : `-n ${where}`;
    const [name] = right.names;
    const object = `${right.resource}${right.group === '' ? '' : `.${right.group}`}${name === undefined ? '' : `/${name}`}`;
    return failed(
      `no right to ${right.verb} ${right.resource}${where === null ? '' : ` in ${where}`}, which is needed for: ${right.why}`,
      `kubectl apply -k OVERLAY (the rules are in deploy/base/cluster); then kubectl auth can-i ${right.verb} ${object} ${scope} --as system:serviceaccount:netcheck:netcheck-worker     has to say yes`,
    );
  });
}

function judgeSurplus(asked: readonly { readonly access: Access; readonly answer: ClusterResult<boolean> }[]): Item[] {
  const text = ({ verb, resource, subresource, namespace }: Access): string =>
    `${verb} ${resource}${subresource === undefined ? '' : `/${subresource}`}${namespace === undefined ? '' : ` in ${namespace}`}`;
  const allowed = asked.flatMap(({ access, answer }) => (answer.ok && answer.value ? [text(access)] : []));
  if (allowed.length > 0) {
    return [
      warning(
        `netcheck may do more than it needs: ${allowed.join(', ')}`,
        'let it use the ServiceAccount of deploy/base/cluster alone, with nothing else bound to it: kubectl get clusterrolebindings,rolebindings -A -o wide | grep netcheck',
      ),
    ];
  }
  if (asked.some(({ answer }) => !answer.ok)) return [notChecked('whether netcheck may do more than it needs')];
  return [isFine(`what it must not do is denied: ${asked.map(({ access }) => text(access)).join(', ')}`)];
}

/** What has to be asked about one right: each of its names in the namespaces where they are read. */
function accessesOf({ verb, group, resource, names, isForAgents, namespace }: Right, agents: string): Access[] {
  const [plural = '', subresource] = resource.split('/');
  const access: Access = {
    verb,
    group,
    resource: plural,
    ...(subresource === undefined ? {} : { subresource }),
    ...(isForAgents ? { namespace: agents } : namespace === null ? {} : { namespace }),
  };
  if (names.length === 0) return [access];
  return CONFIG_MAPS.filter((key) => names.includes(key.slice(key.indexOf('/') + 1))).map((key) => {
    const [namespace = '', name = ''] = key.split('/');
    return { ...access, namespace, name };
  });
}

/** Whether the pods of both DaemonSets run on every Linux node. */
function judgePods(inventory: Inventory): Item[] {
  const { agentNamespace, pods, gaps } = inventory;
  const { nodes, omitted } = nodesToAsk(inventory);
  const unread = gaps.find(({ what }) => what === 'pods');
  if (unread !== undefined) return [notChecked(`where netcheck's pods run: ${quoted(unread.reason)}`)];
  const missing = {
    'netcheck-agent': nodes.filter(({ name }) => !findAgent(pods, agentNamespace, name).ok),
    'netcheck-probe': nodes.filter(({ name }) => probePodOf(inventory, name) === null),
  };
  return [
    ...Object.entries(missing).map(([set, without]) =>
      without.length === 0
        ? isFine(`${set} runs on every Linux node (${nodes.length})`)
        : failed(
            `${set} does not run on ${named(without.map(({ name }) => name))}: nothing is known of ${without.length === 1 ? 'it' : 'them'}`,
            `kubectl -n ${agentNamespace} describe daemonset ${set}; kubectl -n ${agentNamespace} get pods -o wide`,
          ),
    ),
    ...omitted.map(({ where, reason }) => notChecked(`${where}: ${reason}`)),
  ];
}

/** Opens every agent at once and lets it use each of its tools. */
async function checkAgents(cluster: KubernetesCluster, inventory: Inventory, version: string): Promise<Item[]> {
  const { pods, agentNamespace } = inventory;
  const present = nodesToAsk(inventory).nodes.filter(({ name }) => findAgent(pods, agentNamespace, name).ok);
  if (present.length === 0) return [notChecked('the agents: there is none to open')];
  const evidence = await Promise.all(present.map(({ name }) => lookAt(cluster, name)));
  const restart = `kubectl -n ${agentNamespace} rollout restart daemonset/netcheck-agent`;
  const dead = evidence.flatMap(({ node, fault }) => (fault === undefined ? [] : [{ node, why: fault.message }]));
  const alive = evidence.filter(({ fault }) => fault === undefined);
  const items = dead.map(({ node, why }) =>
    failed(
      `the agent on ${node} cannot be used: ${quoted(why)}`,
      `kubectl -n ${agentNamespace} get pods -o wide --field-selector spec.nodeName=${node}; ${restart}`,
    ),
  );
  if (alive.length === 0) return items;
  const others = alive.filter(({ agentVersion }) => agentVersion !== version);
  const tools = Map.groupBy(
    alive.flatMap(({ node, items: read }) =>
      Object.values(read).flatMap(({ argv, fault }) => (fault === 'not-found' ? [{ tool: argv[0] ?? '', node }] : [])),
    ),
    ({ tool }) => tool,
  );
  return [
    ...items,
    others.length === 0
      ? isFine(`${alive.length} ${alive.length === 1 ? 'agent answers' : 'agents answer'} in version ${version}`)
      : warning(
          `agents of another version than this one (${version}): ${named(others.map(({ node, agentVersion }) => `${node} ${quoted(agentVersion ?? 'unknown')}`))}`,
          `write the image of version ${version} into the overlay, then kubectl apply -k OVERLAY`,
        ),
    tools.size === 0
      ? isFine(`the agents have all ${toolTasks().length} tools`)
      : failed(
          `not installed in the agent: ${[...tools].map(([tool, where]) => `${tool} (${named(where.map(({ node }) => node))})`).join(', ')}`,
          `docker build -f deploy/images/agent.Dockerfile --target agent -t REGISTRY/netcheck-agent:${version} . && docker push REGISTRY/netcheck-agent:${version}; ${restart}`,
        ),
  ];
}

async function lookAt(cluster: KubernetesCluster, node: string): Promise<NodeEvidence> {
  const session = openSession(cluster, node, toolTasks(), AbortSignal.timeout(AGENT_MS), () => performance.now());
  const beat = setInterval(session.beat, BEAT_MS);
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, AGENT_MS);
  try {
    await Promise.race([session.ready, late]);
    const isLate = !session.isUsable() && session.evidence().fault === undefined;
    const evidence = session.evidence();
    return isLate
      ? { ...evidence, fault: { kind: 'timeout', message: `the agent did not answer within ${AGENT_MS / 1000} s` } }
      : evidence;
  } finally {
    clearInterval(beat);
    clearTimeout(timer);
    session.end();
  }
}

/** One reading of the catalogue for each tool of the agents, so that one that is missing shows. */
function toolTasks(): ReturnType<typeof readingTasks> {
  const byTool = new Map<string, Reading>();
  const collects: readonly Readings[] = [PLANNING, ...Object.values(CHECKS).map(({ collect }) => collect)];
  for (const reading of collects.flatMap((collect) => Object.values(collect))) {
    // What needs something of the node is left out where that is not there, and would not show.
    if (!('argv' in reading) || reading.in !== 'node' || reading.needs !== undefined) continue;
    const [tool = ''] = reading.argv;
    if (!byTool.has(tool)) byTool.set(tool, { ...reading, when: 'start' });
  }
  return readingTasks([Object.fromEntries(byTool)], 'start');
}
