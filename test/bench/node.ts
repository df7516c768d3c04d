import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { diagnoseLab } from '../e2e/diagnose.ts';
import { agentBundle } from '../lab/agent.ts';
import { createLab } from '../lab/lab.ts';

/** Processor time as the kernel counts it, and the wall time from the first sight of a process to the last. Seconds. */
type Agent = { readonly cpu: number; readonly wall: number };

const RUNS = 5;

/**
 * Measures what a run of a healthy cluster costs one node: processor time of the agent and all that it started, and how
 * long its one exec lasted. With few nodes, as the lab's nodes
 * share this machine's processors. Returns a Markdown table.
 */
export async function benchNode(nodes: number): Promise<string> {
  const lab = await createLab({ nodes });
  const bundle = await agentBundle();
  try {
    const runs: Agent[] = [];
    let left = 0;
    for (let run = 0; run < RUNS; run += 1) {
      const watch = watchAgents(bundle);
      const { verdict } = await diagnoseLab(lab);
      const ended = await watch.end();
      if (verdict.status !== 'healthy') throw new Error(`the lab is not healthy: ${verdict.headline}`);
      runs.push(...ended);
      // Until the streams are closed on both sides.
      await delay(1000);
      left += agents(bundle).size;
    }
    const cpu = runs.map((agent) => agent.cpu).toSorted((a, b) => a - b);
    const wall = runs.map((agent) => agent.wall).toSorted((a, b) => a - b);
    const row = (what: string, values: readonly number[], bar: string): string =>
      `| ${what} | ${median(values).toFixed(2)} | ${(values.at(-1) ?? 0).toFixed(2)} | ${bar} |\n`;
    return `${nodes} nodes at once, ${RUNS} runs, ${runs.length} agents\n\n| of one node | median s | most s | bar |\n| --- | --- | --- | --- |\n${row('processor time of the agent and its commands', cpu, '0.5')}${row('its one exec, wall', wall, '1.5')}| agents left after a run | ${left} | | 0 |\n`;
  } finally {
    await lab.down();
  }
}

function median(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Looks at every agent of this machine every few milliseconds until told to end. */
function watchAgents(bundle: string) {
  const seen = new Map<number, { readonly first: number; last: number; cpu: number }>();
  const over = new AbortController();
  const watching = (async () => {
    while (!over.signal.aborted) {
      const now = performance.now();
      for (const [pid, inside] of agents(bundle)) {
        const own = cpuOf(pid);
        if (own === null) continue;
        const cpu = inside.reduce((sum, child) => sum + (cpuOf(child) ?? 0), own);
        const known = seen.get(pid);
        if (known === undefined) seen.set(pid, { first: now, last: now, cpu });
        else Object.assign(known, { last: now, cpu: Math.max(cpu, known.cpu) });
      }
      await delay(5);
    }
  })();
  return {
    end: async (): Promise<readonly Agent[]> => {
      over.abort();
      await watching;
      return [...seen.values()].map(({ first, last, cpu }) => ({ cpu, wall: (last - first) / 1000 }));
    },
  };
}

/** The agents of this bundle that were started by an exec, each with those that it has started inside pods. */
function agents(bundle: string): ReadonlyMap<number, readonly number[]> {
  const pids = readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    const [program = '', ...rest] = read(`/proc/${entry}/cmdline`)?.split('\0') ?? [];
    return program.endsWith('node') && rest.includes(bundle) && rest.includes('collect') ? [Number(entry)] : [];
  });
  const parents = new Map(pids.map((pid) => [pid, Number(statOf(pid)?.[1])]));
  const outer = pids.filter((pid) => !pids.includes(parents.get(pid) ?? 0));
  return new Map(outer.map((pid) => [pid, pids.filter((child) => parents.get(child) === pid)]));
}

/** Seconds of processor time that a process and its ended children have used; see proc(5), fields 14 to 17 of stat. */
function cpuOf(pid: number): number | null {
  const fields = statOf(pid);
  return fields === null ? null : fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100;
}

/** The fields of a process's stat after its name: state, parent and so on. */
function statOf(pid: number): readonly string[] | null {
  const stat = read(`/proc/${pid}/stat`);
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

function read(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
