import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type AgentFaultName, type ClusterUnderTest, describeCluster } from '../../../test/contract/cluster.contract.ts';
import type { Faults } from '../../../test/lab/api/faults.ts';
import { ADMIN_TOKEN, agentPod, createSmallCluster } from '../../../test/lab/api/small-cluster.ts';
import { createKubernetesCluster } from './index.ts';

/** The switches of the API server double for the faults that are made there. */
const SWITCHES: Partial<Record<AgentFaultName, Faults['exec'][number]>> = {
  forbidden: { kind: 'forbidden' },
  'hang-before-open': { kind: 'hang-before-open' },
  'hang-after-open': { kind: 'hang-after-open' },
  'drop-before-output': { kind: 'drop', afterBytes: 0 },
  'drop-mid-stream': { kind: 'drop', afterBytes: 8 },
  'close-without-status': { kind: 'close-without-status' },
};

async function make(execProtocols: readonly string[]): Promise<ClusterUnderTest> {
  let script = 'echo ready; exec cat';
  const small = await createSmallCluster({ nodes: 2, execProtocols, command: () => ['sh', '-c', script] });
  const directory = await mkdtemp(join(tmpdir(), 'netcheck-contract-'));
  const kubeconfig = join(directory, 'config');
  await writeFile(kubeconfig, small.api.kubeconfig(ADMIN_TOKEN));
  const created = createKubernetesCluster({ kubeconfig, name: 'test', log: { debug: () => {} } });
  if (!created.ok) throw new Error(created.fault.message);
  return {
    cluster: created.value,
    node: 'node-1',
    async inject(fault) {
      const exec = SWITCHES[fault];
      if (exec !== undefined) small.api.setFaults({ exec: [exec] });
      if (fault === 'missing-agent') small.api.remove(agentPod('node-1', 1));
      if (fault === 'kubelet-unreachable') await small.kubelets.get('node-1')?.stop();
      if (fault === 'api-unreachable') await small.api.close();
      if (fault === 'not-installed') script = 'echo "netcheck-agent: not found" >&2; exit 127';
      if (fault === 'exit-nonzero') script = 'echo ready; echo broken >&2; exit 7';
      if (fault === 'close-without-status') script = 'echo ready';
    },
    makeTalkative(bytes) {
      script = `echo ready; head -c ${bytes} /dev/zero`;
    },
    makeDeaf() {
      script = 'echo ready; exec sleep 60';
    },
    async leftovers() {
      const kubelets = [...small.kubelets.values()].reduce((sum, kubelet) => sum + kubelet.connections(), 0);
      return small.api.execs() + kubelets + small.running();
    },
    async close() {
      await small.close();
      await rm(directory, { recursive: true });
    },
  };
}

describeCluster('the Kubernetes adapter', () => make(['v5.channel.k8s.io', 'v4.channel.k8s.io']));
// API servers before 1.30: they dial the kubelet before they accept, and do not know how to end standard input.
describeCluster('the Kubernetes adapter on an old server', () => make(['v4.channel.k8s.io']));

test.each([
  [['v5.channel.k8s.io'], null],
  [['v4.channel.k8s.io'], { kind: 'dropped', message: 'the connection to the agent on node-1 closed (1006) before it ended' }],
])(
  'a node that is lost half-way, over %j, ends the agent with %j: so its own last message is what counts',
  async (protocols, fault) => {
    const under = await make(protocols);
    const opened = await under.cluster.openAgent(under.node, AbortSignal.timeout(5000));
    if (!opened.ok) throw new Error(opened.fault.message);
    await under.inject('kubelet-unreachable');
    for await (const _chunk of opened.value.output);
    expect(await opened.value.ended).toEqual(fault);
    await under.cluster.close();
    await under.close();
  },
);
