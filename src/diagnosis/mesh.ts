import type { Bundle } from '../model/bundle.ts';
import { MESH_ROWS, type Mesh, type MeshCell, type MeshPlane } from '../model/mesh.ts';
import type { Judged } from './classify.ts';
import { probePodOf } from './plan.ts';
import { sortNames } from './words.ts';

const ZONE = 'topology.kubernetes.io/zone';

/** One way between two nodes: as in a cell, `unknown` where there is no evidence, `nothing` where none is wanted. */
type Way = { readonly ms: number | null; readonly loss: number | null } | 'unknown' | 'nothing';

/**
 * What the run measured between the nodes, as a matrix; undefined where it was not asked for the whole cluster, or there
 * is nothing between to measure. A way that should have been measured and was not is unknown, never good. Pure.
 */
export function meshOf({ run, plan, inventory }: Bundle, judged: readonly Judged[]): Mesh | undefined {
  if (run.request.kind !== 'cluster' || plan.nodes.length < 2) return undefined;
  const zones = new Map(inventory.nodes.map(({ name, labels }) => [name, labels[ZONE] ?? '']));
  const groups = groupsOf(plan.nodes, zones, MESH_ROWS);
  const addresses = {
    nodes: new Map(inventory.nodes.map(({ name, ip }) => [name, ip])),
    pods: new Map(plan.nodes.map((name) => [name, probePodOf(inventory, name)?.ip ?? null])),
  };
  const planes = (['nodes', 'pods'] as const).flatMap((of) => {
    const measured = judged.filter(
      ({ probe }) =>
        (of === 'pods') === (probe.from.pod !== null) &&
        probe.to.node !== null &&
        probe.to.node !== probe.from.node &&
        probe.bytes === undefined &&
        addresses[of].get(probe.to.node) === probe.to.ip,
    );
    return measured.length === 0 ? [] : [planeOf(of, groups, measured)];
  });
  return planes.length === 0 ? undefined : { groups: groups.map(({ name, nodes }) => ({ name, nodes: nodes.length })), planes };
}

type Group = { readonly name: string; readonly nodes: readonly string[] };

/** The rows: a node each, or as many neighbours of one zone as it takes to have no more than `most` rows. */
export function groupsOf(names: readonly string[], zones: ReadonlyMap<string, string>, most: number): readonly Group[] {
  const sorted = sortNames(names);
  if (sorted.length <= most) return sorted.map((name) => ({ name, nodes: [name] }));
  const byZone = [...Map.groupBy(sorted, (name) => zones.get(name) ?? '')].sort(([a], [b]) => (a < b ? -1 : 1));
  // More zones than rows would be no zones.
  const parts = byZone.length > most / 2 ? [['', sorted] as const] : byZone;
  for (let size = Math.ceil(sorted.length / most); ; size += 1) {
    const groups = parts.flatMap(([, nodes]) => chunks(nodes, size));
    if (groups.length <= most)
      return groups.map((nodes) => ({ name: nodes.length === 1 ? (nodes[0] ?? '') : `${nodes[0]} … ${nodes.at(-1)}`, nodes }));
  }
}

function chunks(names: readonly string[], size: number): readonly (readonly string[])[] {
  return Array.from({ length: Math.ceil(names.length / size) }, (_, index) => names.slice(index * size, (index + 1) * size));
}

function planeOf(of: MeshPlane['of'], groups: readonly Group[], measured: readonly Judged[]): MeshPlane {
  const byPair = Map.groupBy(measured, ({ probe }) => `${probe.from.node} ${probe.to.node}`);
  const ways: Way[] = [];
  const cells = groups.flatMap((row) =>
    groups.map((column) => {
      const between = row.nodes.flatMap((from) =>
        column.nodes.filter((to) => to !== from).map((to) => wayOf(byPair.get(`${from} ${to}`) ?? [])),
      );
      ways.push(...between);
      return cellOf(between);
    }),
  );
  const known = ways.filter((way) => way !== 'unknown' && way !== 'nothing');
  const times = known.flatMap(({ ms }) => ms ?? []).sort((a, b) => a - b);
  return {
    of,
    ways: known.length,
    lossy: known.filter(({ loss }) => loss !== null && loss > 0).length,
    unknown: ways.filter((way) => way === 'unknown').length,
    medianMs: quantile(times, 0.5),
    p95Ms: quantile(times, 0.95),
    cells,
  };
}

/**
 * A ping measures time and loss. Where it is filtered, an exchange shows that the way is good and no more: its time is
 * that of the processes at both ends.
 */
function wayOf(items: readonly Judged[]): Way {
  const ping = items.find(({ probe }) => probe.method === 'ping');
  if (ping !== undefined && /^(pass|lossy|recovered|fail)$/.test(ping.meaning)) {
    const { sent, delivered, rtt } = ping.result;
    return { ms: rounded(rtt?.avg ?? null), loss: sent === 0 ? null : Math.round((1000 * (sent - delivered)) / sent) / 10 };
  }
  if (items.some(({ meaning }) => meaning === 'denied')) return 'nothing';
  const isReached = items.some(({ probe, meaning }) => probe.method === 'tcp' && meaning === 'pass');
  return isReached ? { ms: null, loss: null } : 'unknown';
}

function cellOf(ways: readonly Way[]): MeshCell {
  const known = ways.filter((way) => way !== 'unknown' && way !== 'nothing');
  const unknown = ways.filter((way) => way === 'unknown').length;
  if (known.length === 0 && unknown === 0) return null;
  return [worst(known.map(({ ms }) => ms)), worst(known.map(({ loss }) => loss)), unknown];
}

function worst(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function quantile(sorted: readonly number[], share: number): number | null {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
}

/** Microseconds are enough. */
function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(1000 * ms) / 1000;
}
