import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createKubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import { createDiagnose } from '../../src/diagnosis/diagnose.ts';
import { healFault, injectFault } from '../lab/faults/index.ts';
import type { Handle } from '../lab/handle.ts';
import { createLab } from '../lab/lab.ts';

/** The serial loops are run only up to this many nodes: beyond, they take longer than ten minutes. */
const MOST_SERIAL = 6;

/** Runs of netcheck that the median is taken of; the baseline, which is slow and steady, runs once. */
const RUNS = 5;

type Row = { readonly what: string; readonly seconds: number; readonly note: string };

/**
 * Measures, on one lab in one run: the operators' loops of the guide (ping the pod bridges of all nodes, fetch the
 * metrics of every CoreDNS pod, ask each of them a name) with all nodes in parallel, the loops one node after another,
 * and a diagnosis by a process that is already running, as a worker is. Returns a Markdown table.
 */
export async function benchTriage(nodes: number): Promise<string> {
  const lab = await createLab({ nodes });
  try {
    const healthy = await measure(lab, 'healthy');
    await injectFault(lab, 'rack-cut-node', { node: 'node-3' });
    const cut = await measure(lab, 'node-3 cut off');
    await healFault(lab, 'rack-cut-node');
    const lines = [...healthy, ...cut].map(({ what, seconds, note }) => `| ${what} | ${seconds.toFixed(2)} | ${note} |`);
    return `${nodes} nodes\n\n| what | seconds | |\n| --- | --- | --- |\n${lines.join('\n')}\n`;
  } finally {
    await lab.down();
  }
}

async function measure(lab: Handle, state: string): Promise<readonly Row[]> {
  const nodes = lab.topology.nodes.map(({ name }) => name);
  const pings = await parallel(nodes, (node) => lab.exec(node, ['sh', '-c', pingLoop(lab)]));
  const names = await parallel(nodes, (node) => lab.exec(node, ['sh', '-c', nameLoops(lab)]));
  const loops = pings + names;
  const serial =
    nodes.length <= MOST_SERIAL
      ? await oneByOne(nodes, (node) => lab.exec(node, ['sh', '-c', `${pingLoop(lab)}\n${nameLoops(lab)}`]))
      : null;
  const ours = await diagnose(lab);
  const commandLine = await runCommandLine(lab);
  const ratio = (baseline: number): string => `${(baseline / ours.seconds).toFixed(1)}× as long as netcheck`;
  return [
    { what: `${state}: loops, all nodes in parallel`, seconds: loops, note: ratio(loops) },
    { what: `${state}: of these, the ping loop alone`, seconds: pings, note: ratio(pings) },
    ...(serial === null ? [] : [{ what: `${state}: loops, one node after another`, seconds: serial, note: ratio(serial) }]),
    {
      what: `${state}: **netcheck**, running worker`,
      seconds: ours.seconds,
      note: `${ours.status}; median of ${RUNS} (${ours.all}); starting agents took ${Math.round(100 * ours.starting)} % of it`,
    },
    { what: `${state}: netcheck, command line from its start to its end`, seconds: commandLine, note: '' },
  ];
}

/** G1's first loop: two pings to the first address of every podCIDR. */
function pingLoop(lab: Handle): string {
  const bridges = lab.topology.nodes.map(({ bridgeIp }) => bridgeIp).join(' ');
  return `for ip in ${bridges}; do ping -c2 -W1 -q $ip >/dev/null 2>&1 && echo "$ip up" || echo "$ip down"; done`;
}

/** G1's second and third: the metrics of every CoreDNS pod by curl, a name from each by nslookup. */
function nameLoops(lab: Handle): string {
  const servers = lab.topology.pods
    .filter(({ role }) => role === 'coredns')
    .map(({ ip }) => ip)
    .join(' ');
  return `for ip in ${servers}; do curl --connect-timeout 2 -o /dev/null -s -w '%{http_code}\\n' http://$ip:9153/metrics; done
for ip in ${servers}; do nslookup -type=a kubernetes.default.svc.cluster.local $ip; done`;
}

async function parallel(nodes: readonly string[], run: (node: string) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await Promise.all(nodes.map(run));
  return (performance.now() - start) / 1000;
}

async function oneByOne(nodes: readonly string[], run: (node: string) => Promise<unknown>): Promise<number> {
  const start = performance.now();
  for (const node of nodes) await run(node);
  return (performance.now() - start) / 1000;
}

type Measured = { readonly seconds: number; readonly all: string; readonly status: string; readonly starting: number };

/** A process that has diagnosed once already: what a worker's second job takes, from request to verdict. */
async function diagnose(lab: Handle): Promise<Measured> {
  const opened = createKubernetesCluster({ kubeconfig: lab.kubeconfig, log: { debug: () => {} } });
  if (!opened.ok) throw new Error(opened.fault.message);
  const run = createDiagnose({ cluster: opened.value, version: 'bench', clock: Date.now });
  const times: { readonly seconds: number; readonly starting: number }[] = [];
  let status = '';
  for (let index = 0; index <= RUNS; index += 1) {
    const start = performance.now();
    let began = start;
    let swept = start;
    const result = await run(
      { kind: 'cluster' },
      {
        runId: randomUUID(),
        signal: new AbortController().signal,
        onProgress({ phase }) {
          if (phase === 'starting' && began === start) began = performance.now();
          if (phase === 'sweep') swept = performance.now();
        },
      },
    );
    const seconds = (performance.now() - start) / 1000;
    if (!result.ok) throw new Error(result.error.message);
    ({ status } = result.value.verdict);
    if (index > 0) times.push({ seconds, starting: (swept - began) / 1000 / seconds });
  }
  await opened.value.close();
  const sorted = times.toSorted((a, b) => a.seconds - b.seconds);
  const median = sorted[Math.floor(sorted.length / 2)] ?? { seconds: 0, starting: 0 };
  return { ...median, status, all: sorted.map(({ seconds }) => seconds.toFixed(2)).join(', ') };
}

async function runCommandLine(lab: Handle): Promise<number> {
  const start = performance.now();
  const main = join(import.meta.dirname, '../../src/cli/main.ts');
  await new Promise<void>((resolve, reject) => {
    const child = spawn(process.execPath, [main, 'run', 'cluster', '--kubeconfig', lab.kubeconfig], { stdio: 'ignore' });
    child.once('error', reject);
    child.once('exit', () => resolve());
  });
  return (performance.now() - start) / 1000;
}
