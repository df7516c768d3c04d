import { createKubernetesCluster } from '../cluster/kubernetes/index.ts';
import type { Cluster, ClusterResult, ClusterWriter } from '../cluster/port.ts';
import type { ClusterConfig, Config } from '../config.ts';
import { createDiagnose } from '../diagnosis/diagnose.ts';
import { createWorker, type WorkerProcess } from '../jobs/worker.ts';
import type { Meter } from '../meter.ts';
import type { QueueName } from '../model/wire/job.ts';
import type { RemedyWriter } from '../remedies/api-host.ts';
import { eventOf } from '../remedies/event.ts';
import { propose } from '../remedies/propose.ts';
import { createRemediate } from '../remedies/remediate.ts';
import type { Log } from '../store/redis.ts';
import { UsageError } from './usage-error.ts';

/** What a worker needs of a cluster. */
export type WorkerCluster = Cluster & RemedyWriter & Pick<ClusterWriter, 'writeEvent'>;

/** How long the API server may take to accept an Event, in milliseconds. */
const EVENT_MS = 5_000;

/** Opens a cluster by its name and configuration. */
export type OpenCluster = (name: string, config: ClusterConfig) => ClusterResult<WorkerCluster>;

export type WorkerLog = Log & { readonly debug: (fields: object, message: string) => void };

/**
 * The worker of one cluster with everything that it does there: diagnoses, proposes and carries out remedies, and tells
 * the bot the names of the nodes. Throws a `UsageError` when the cluster's configuration cannot be used.
 */
export function createClusterWorker(
  config: Config,
  name: string,
  options: {
    readonly version: string;
    readonly log: WorkerLog;
    readonly openCluster?: OpenCluster | undefined;
    readonly meter?: Meter | undefined;
    /** The queues that it serves; both when absent. */
    readonly queues?: readonly QueueName[] | undefined;
  },
): Omit<WorkerProcess, 'id'> {
  const { version, log, meter, openCluster = kubernetes(log), queues } = options;
  const settings = config.clusters[name];
  if (settings === undefined) throw new UsageError(`the configuration has no cluster ${name}`);
  const opened = openCluster(name, settings);
  if (!opened.ok) throw new UsageError(`cluster ${name}: ${opened.fault.message}`);
  const cluster = opened.value;
  const diagnose = createDiagnose({ cluster, version, clock: Date.now });
  const worker = createWorker(config, {
    cluster: name,
    version,
    log,
    ...(meter === undefined ? {} : { meter }),
    ...(queues === undefined ? {} : { queues }),
    diagnose: async (request, run) => {
      const result = await diagnose(request, run);
      return result.ok ? result.value : { refusal: result.error.message };
    },
    propose,
    remediate: createRemediate({ cluster }),
    announce: async (action, outcome) => {
      const written = await cluster.writeEvent(eventOf(action, outcome), AbortSignal.timeout(EVENT_MS));
      return written.ok ? null : written.fault.message;
    },
    listNodes: async (signal) => {
      const inventory = await cluster.inventory(signal);
      if (!inventory.ok) throw new Error(inventory.fault.message);
      return inventory.value.nodes.map((node) => node.name);
    },
  });
  return {
    start: worker.start,
    readiness: worker.readiness,
    stop: async () => {
      await worker.stop();
      await cluster.close();
    },
  };
}

function kubernetes(log: WorkerLog): OpenCluster {
  return (name, { kubeconfig, context, agentNamespace }) =>
    createKubernetesCluster({ name, kubeconfig, context, agentNamespace, log });
}
