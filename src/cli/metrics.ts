import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Meter, QueueState } from '../meter.ts';

/** A meter, and what it has counted in Prometheus' text format. */
export type Metrics = { readonly meter: Meter; readonly render: () => Promise<string>; readonly contentType: string };

/**
 * Makes the metrics of one process. `queues` is asked at every scrape and may reject: the queues are then absent, and
 * `netcheck_scrape_errors_total` grows. Labels are names of clusters, codes, methods; never of people, nodes or pods.
 */
export function createMetrics(queues: (() => Promise<readonly QueueState[]>) | null): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const counter = <T extends string>(name: string, help: string, ...labelNames: T[]) =>
    new Counter({ name: `netcheck_${name}_total`, help, labelNames, registers });
  const seconds = <T extends string>(name: string, help: string, most: number, ...labelNames: T[]) =>
    new Histogram({
      name: `netcheck_${name}_seconds`,
      help,
      labelNames,
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120].filter((bucket) => bucket <= most),
      registers,
    });
  const runs = counter('runs', 'Runs that ended, by how', 'cluster', 'outcome');
  const phases = seconds('run_phase', 'How long the phases of runs took', 120, 'cluster', 'phase');
  const verdicts = counter('verdicts', 'Verdicts, by status and lowest failing layer', 'cluster', 'status', 'layer');
  const findings = counter('findings', 'Causes and risks in verdicts, by code', 'cluster', 'kind', 'code');
  const agents = counter('agent_errors', 'Agents that could not be used, or not to the end', 'cluster', 'kind');
  const remedies = counter('remedies', 'Remedies that were carried out or refused, by outcome', 'cluster', 'remedy', 'outcome');
  const slack = seconds('slack_call', "Calls of Slack's Web API, by result", 10, 'method', 'result');
  if (queues !== null) countQueues(queues, registers);
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    meter: {
      run: (cluster, outcome) => runs.inc({ cluster, outcome }),
      phase: (cluster, phase, seconds) => phases.observe({ cluster, phase }, seconds),
      verdict: (cluster, { status, layer, causes, risks }) => {
        verdicts.inc({ cluster, status, layer: layer ?? 'none' });
        for (const { code } of causes) findings.inc({ cluster, kind: 'cause', code });
        for (const { code } of risks) findings.inc({ cluster, kind: 'risk', code });
      },
      agentFault: (cluster, kind) => agents.inc({ cluster, kind }),
      remedy: (cluster, remedy, outcome) => remedies.inc({ cluster, remedy, outcome }),
      slackCall: (method, result, seconds) => slack.observe({ method, result }, seconds),
    },
  };
}

function countQueues(queues: () => Promise<readonly QueueState[]>, registers: Registry[]): void {
  const errors = new Counter({
    name: 'netcheck_scrape_errors_total',
    help: 'Scrapes at which the queues could not be read',
    registers,
  });
  const oldest = new Gauge({
    name: 'netcheck_queue_oldest_seconds',
    help: 'How long the oldest waiting job has waited',
    labelNames: ['cluster', 'queue'],
    registers,
  });
  const jobs = new Gauge({
    name: 'netcheck_queue_jobs',
    help: 'Jobs in the queues, by state',
    labelNames: ['cluster', 'queue', 'state'],
    registers,
    collect: async () => {
      jobs.reset();
      oldest.reset();
      try {
        for (const { cluster, queue, waiting, active, oldestSeconds } of await queues()) {
          jobs.set({ cluster, queue, state: 'waiting' }, waiting);
          jobs.set({ cluster, queue, state: 'active' }, active);
          oldest.set({ cluster, queue }, oldestSeconds);
        }
      } catch {
        errors.inc();
      }
    },
  });
}
