import { CHECKS } from '../checks/index.ts';
import { incomplete, type Parsed, parseComplete, type Reading, type Readings, unknown } from '../checks/kit/check.ts';
import { parseLinks } from '../checks/kit/links.ts';
import { parseNeighbours } from '../checks/kit/neighbours.ts';
import { nodeNetwork } from '../checks/kit/node-network.ts';
import { ADDRESSES, CONNTRACK_FREE, NEIGHBOUR_COUNT, NEIGHBOUR_TABLE, NEIGHBOURS, RESOLV_CONF } from '../checks/kit/readings.ts';
import { parseResolvConf, upstreamsOf } from '../checks/kit/resolv-conf.ts';
import { readConntrackFree, readNeighboursFree } from '../checks/kit/tables.ts';
import type { Cluster } from '../cluster/port.ts';
import type { Plan } from '../model/bundle.ts';
import type { NodeEvidence } from '../model/evidence.ts';
import type { Inventory } from '../model/inventory.ts';
import type { Probe, ProbeResult } from '../model/probe.ts';
import type { NotChecked, RunRequest } from '../model/verdict.ts';
import { Listening } from '../model/wire/agent.ts';
import { classify } from './classify.ts';
import { tagsOf, unprobedFamilies } from './judge.ts';
import {
  chooseFocus,
  listensAtOnce,
  type NodeState,
  nodesToAsk,
  planFocus,
  planFollowUps,
  planLate,
  planSweep,
  probePodOf,
  unplannable,
  unreachable,
} from './plan.ts';
import { probeResults } from './results.ts';
import { openSession, type Session } from './session.ts';
import { heardTasks, listenTask, probeTasks, readingMoments, readingTasks, type Uplink, wayTasks } from './tasks.ts';

/** Time limits of the phases, in milliseconds. */
export type Limits = {
  /** Until the last agent may answer, counted from the opening of the sessions. */
  readonly readyMs: number;
  /** After no further agent has answered for this long, the others begin. */
  readonly quietMs: number;
  /** For the sweep, and for each round after it: how long an agent may deliver nothing. */
  readonly roundMs: number;
};

export const LIMITS: Limits = { readyMs: 6000, quietMs: 150, roundMs: 6000 };

export type CollectOptions = {
  readonly cluster: Cluster;
  readonly inventory: Inventory;
  readonly request: RunRequest;
  readonly token: string;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly onPhase: (phase: 'starting' | 'sweep' | 'focus', ready: number, total: number) => void;
  readonly limits?: Limits;
  /** Send only the probes with these ids, once, and read nothing else: to see whether what failed works now. */
  readonly only?: ReadonlySet<string>;
};

export type Collected = { readonly plan: Plan; readonly evidence: readonly NodeEvidence[] };

/** Readings that the plan itself needs, whatever the checks ask for. */
export const PLANNING: Readings = {
  addresses: ADDRESSES,
  limits: NEIGHBOUR_TABLE,
  neighbours: NEIGHBOUR_COUNT,
  conntrack: CONNTRACK_FREE,
  resolvers: RESOLV_CONF,
};

/**
 * Asks the agents of all nodes, in step: first readings and open ears, then the sweep, then last readings and counts,
 * then whatever was lossy again with more packets. A node that answers late is taken in when it does; a node that does
 * not answer is waited for only as long as its answer could still change anything. Never rejects.
 */
export async function collect(options: CollectOptions): Promise<Collected> {
  const { cluster, inventory, request, token, signal, now, onPhase, only, limits = LIMITS } = options;
  const { nodes, omitted } = nodesToAsk(inventory);
  const checks = only === undefined ? Object.values(CHECKS) : [];
  const collects = [PLANNING, ...checks.map((check) => check.collect)];
  const omissions: NotChecked[] = [
    ...omitted,
    ...unplannable(inventory, nodes),
    ...unprobedFamilies(inventory),
    ...unreachable(inventory, request),
  ];
  const probes: Probe[] = [];
  const states = new Map<string, NodeState>();
  const swept = new Set<string>();
  const ears: Ear[] = listensAtOnce(nodes) ? nodes.map(({ name }) => ({ node: name, where: 'node' })) : [];

  const sessions = nodes.map((node) => {
    const tasks = [
      ...readingTasks(collects, 'start'),
      ...wayTasks(probePodOf(inventory, node.name)?.uid ?? null),
      ...(listensAtOnce(nodes) ? [listenTask(token, 'node')] : []),
    ];
    return openSession(cluster, node.name, tasks, signal, now);
  });
  const heartbeat = setInterval(() => {
    for (const session of sessions) session.beat();
  }, 1000);
  const cancel = (): void => {
    for (const session of sessions) session.end({ kind: 'cancelled', message: 'the run was cancelled' });
  };
  signal.addEventListener('abort', cancel, { once: true });
  onPhase('starting', 0, nodes.length);

  const uplinkOf = (node: string): string | null => states.get(node)?.network?.uplink?.name ?? null;

  function ownLinkOf(name: string): Uplink | null {
    const [dev, node] = [uplinkOf(name), nodes.find((candidate) => candidate.name === name)];
    return dev === null || node === undefined ? null : { dev, ip: node.ip };
  }

  /** Plans for nodes that have answered, and sets them off. */
  function sweep(ready: readonly Session[]): Promise<void[]> {
    for (const session of ready) states.set(session.node, stateOf(inventory, session.evidence()));
    const sources = new Set(ready.map(({ node }) => node));
    const planned = planSweep(inventory, request, nodes, states, sources);
    const known = new Set(probes.map(({ id }) => id));
    const wanted = planned.probes.filter(({ id }) => only === undefined || only.has(id));
    probes.push(...wanted.filter(({ id }) => !known.has(id)));
    omissions.push(...planned.omitted);
    const tags = { token, tagOf: tagsOf(probes) };
    const mine = Map.groupBy(wanted, ({ from }) => from.node);
    return Promise.all(
      ready.map((session) => {
        swept.add(session.node);
        return session.perform(
          [
            ...readingTasks(collects, 'sweep', ownLinkOf(session.node)),
            ...probeTasks(mine.get(session.node) ?? [], uplinkOf(session.node), tags),
          ],
          limits.roundMs,
        );
      }),
    );
  }

  /** The second round, where there is something to measure again. */
  async function measureAgain(): Promise<void> {
    const judged = classify(probes, resultsSoFar(probes, sessions));
    const focus = only === undefined ? chooseFocus(judged, new Set(usable().map(({ node }) => node))) : null;
    if (focus === null) return;
    onPhase('focus', swept.size, nodes.length);
    await Promise.all(
      usable().map((session) => {
        const listening = listeningOf(session.evidence());
        const opened = (['node', 'pod'] as const).filter(
          (where) => focus.ears[where].includes(session.node) && listening[where] === null,
        );
        ears.push(...opened.map((where) => ({ node: session.node, where })));
        return session.perform(
          opened.map((where) => listenTask(token, where)),
          limits.roundMs,
        );
      }),
    );
    for (const session of usable()) states.set(session.node, stateOf(inventory, session.evidence()));
    await send(planFocus(focus, judged, inventory, nodes, states));
    await Promise.all(usable().map((session) => session.perform(heardTasks(2, listeningOf(session.evidence())), limits.roundMs)));
    await send(planFollowUps(focus, inventory, nodes, states));
  }

  /** Adds probes to the plan, or puts them where others stood (nodes know a probe by its place), and sends them. */
  async function send(planned: readonly Probe[], instead: ReadonlyMap<string, Probe> = new Map()): Promise<void> {
    const others = new Set(instead.values());
    for (const [index, probe] of probes.entries()) probes[index] = instead.get(probe.id) ?? probe;
    probes.push(...planned.filter((probe) => !others.has(probe)));
    const tags = { token, tagOf: tagsOf(probes) };
    const mine = Map.groupBy(planned, ({ from }) => from.node);
    await Promise.all(
      usable().map((session) =>
        session.perform(probeTasks(mine.get(session.node) ?? [], uplinkOf(session.node), tags), limits.roundMs),
      ),
    );
  }

  const first = await firstToAnswer(sessions, limits, (ready) => onPhase('starting', ready, nodes.length));
  onPhase('sweep', first.length, nodes.length);
  const begun = sweep(first);
  const late = sessions
    .filter((session) => !first.includes(session))
    .map(async (session) => {
      if (await session.ready) await sweep([session]);
    });
  await begun;
  await waitForLate(sessions, late, probes, swept, limits);

  const usable = (): readonly Session[] => sessions.filter((session) => session.isUsable() && swept.has(session.node));
  const sources = new Set(usable().map(({ node }) => node));
  if (late.length > 0) {
    const more = planLate(inventory, request, nodes, states, sources, probes, only);
    await send(more.probes, more.instead);
  }
  await Promise.all(
    usable().map((session) =>
      session.perform(
        [...readingTasks(collects, 'end', ownLinkOf(session.node)), ...heardTasks(1, listeningOf(session.evidence()))],
        limits.roundMs,
      ),
    ),
  );
  await measureAgain();
  if (only === undefined) omissions.push(...deafEars(inventory, usable(), ears));
  clearInterval(heartbeat);
  signal.removeEventListener('abort', cancel);
  for (const session of sessions) session.end();
  return {
    plan: { nodes: nodes.map(({ name }) => name), checks: checks.map(({ id }) => id), probes, omitted: unique(omissions) },
    evidence: sessions.map((session) => session.evidence()),
  };
}

/**
 * The sessions that are through their first round: all of them, or those that are when no further one came for a while.
 * The quiet time grows with the time that has passed, as agents of a slow or large cluster come in slowly.
 */
async function firstToAnswer(
  sessions: readonly Session[],
  limits: Limits,
  onReady: (count: number) => void,
): Promise<readonly Session[]> {
  const ready: Session[] = [];
  const start = performance.now();
  await new Promise<void>((resolve) => {
    let pending = sessions.length;
    let timer: NodeJS.Timeout | undefined;
    const hardStop = setTimeout(resolve, limits.readyMs);
    const settle = (): void => {
      clearTimeout(timer);
      if (pending === 0) {
        clearTimeout(hardStop);
        resolve();
      } else if (ready.length > 0) {
        timer = setTimeout(
          () => {
            clearTimeout(hardStop);
            resolve();
          },
          Math.max(limits.quietMs, (performance.now() - start) / 3),
        );
      }
    };
    if (pending === 0) settle();
    for (const session of sessions) {
      void session.ready.then((isReady) => {
        pending -= 1;
        if (isReady) {
          ready.push(session);
          onReady(ready.length);
        }
        settle();
      });
    }
  });
  return ready;
}

/**
 * Waits for nodes that have not answered, but only for those that their peers can reach: what cannot be reached by
 * anybody will not answer, what can be reached should.
 */
async function waitForLate(
  sessions: readonly Session[],
  late: readonly Promise<void>[],
  probes: readonly Probe[],
  swept: ReadonlySet<string>,
  limits: Limits,
): Promise<void> {
  const results = resultsSoFar(probes, sessions);
  const reachable = new Set(probes.filter((probe) => results.get(probe.id)?.status === 'pass').map((probe) => probe.to.node));
  for (const session of sessions) {
    if (session.isUsable() || swept.has(session.node) || reachable.has(session.node) || swept.size === 0) continue;
    session.end({ kind: 'timeout', message: 'the agent could not be reached, nor the node by its peers' });
  }
  const deadline = Promise.withResolvers<void>();
  const timer = setTimeout(deadline.resolve, limits.readyMs);
  await Promise.race([Promise.all(late), deadline.promise]);
  clearTimeout(timer);
  for (const session of sessions) {
    if (session.isUsable()) continue;
    session.end({ kind: 'timeout', message: `the agent did not answer within ${(limits.readyMs / 1000).toFixed(0)} s` });
  }
}

function resultsSoFar(probes: readonly Probe[], sessions: readonly Session[]): ReadonlyMap<string, ProbeResult> {
  const evidence = new Map(sessions.map((session) => [session.node, session.evidence()]));
  return probeResults(probes, evidence, tagsOf(probes));
}

function stateOf(inventory: Inventory, evidence: NodeEvidence): NodeState {
  const node = inventory.nodes.find(({ name }) => name === evidence.node);
  const read = (reading: Reading) => evidence.items[readingMoments(reading)[0]?.key ?? ''];
  const addresses = read(ADDRESSES);
  const links = addresses === undefined ? null : parseLinks(addresses);
  const resolvers = read(RESOLV_CONF);
  const files = resolvers === undefined ? null : parseResolvConf(resolvers);
  return {
    network: node === undefined || links?.outcome !== 'ok' ? null : nodeNetwork(node, links.facts),
    neighbours: neighboursOf(evidence),
    listening: listeningOf(evidence),
    addresses: links?.outcome === 'ok' ? links.facts.flatMap((link) => link.addresses.map(({ ip }) => ip)) : [],
    resolvers: files?.outcome === 'ok' ? upstreamsOf(files.facts) : [],
    freeNeighbours: readNeighboursFree(read(NEIGHBOUR_TABLE), read(NEIGHBOUR_COUNT)),
    freeConntrack: readConntrackFree(read(CONNTRACK_FREE)),
  };
}

/** The neighbour entries as they were last read; none where they could not be. */
function neighboursOf({ items }: NodeEvidence): NodeState['neighbours'] {
  const latest = readingMoments(NEIGHBOURS)
    .flatMap(({ key }) => items[key] ?? [])
    .at(-1);
  const read = latest === undefined ? null : parseNeighbours(latest);
  return read?.outcome === 'ok' ? read.facts : [];
}

/** The ports on which an agent listens by now. */
function listeningOf(evidence: NodeEvidence): NodeState['listening'] {
  const [node, pod] = [portsOf(evidence, 'node'), portsOf(evidence, 'pod')];
  return { node: node.outcome === 'ok' ? node.facts : null, pod: pod.outcome === 'ok' ? pod.facts : null };
}

function portsOf({ items }: NodeEvidence, where: Ear['where']): Parsed<Listening> {
  const [way, item] = [items['enter pod'], items[`listen ${where}`]];
  const gap = where === 'node' || way === undefined ? null : incomplete(way);
  if (gap !== null) return unknown(gap);
  if (item === undefined) return unknown('the agent sent no result');
  return parseComplete(item, (stdout) => Listening.parse(JSON.parse(stdout)));
}

/** Where an agent was asked to count datagrams: on its node, or in the probe pod there. */
type Ear = { readonly node: string; readonly where: 'node' | 'pod' };

/** What follows from ears that did not open: one-way probes that cannot even be planned. */
function deafEars(inventory: Inventory, usable: readonly Session[], ears: readonly Ear[]): readonly NotChecked[] {
  return usable.flatMap((session) =>
    ears.flatMap(({ node, where }) => {
      if (node !== session.node || (where === 'pod' && probePodOf(inventory, node) === null)) return [];
      const ports = portsOf(session.evidence(), where);
      const what = where === 'node' ? 'one-way probes to the node' : 'one-way probes to the probe pod';
      return ports.outcome === 'ok' ? [] : [{ what, where: node, reason: ports.reason }];
    }),
  );
}

function unique(gaps: readonly NotChecked[]): NotChecked[] {
  return [...new Map(gaps.map((gap) => [`${gap.what}\n${gap.where}\n${gap.reason}`, gap])).values()];
}
