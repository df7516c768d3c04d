import { PassThrough } from 'node:stream';
import { CoreV1Api, Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../until.ts';
import { expectHealthy } from './faults/healthy.ts';
import { createLab, type Lab } from './lab.ts';

function client(lab: Lab, context?: string): KubeConfig {
  const config = new KubeConfig();
  config.loadFromFile(lab.kubeconfig);
  if (context !== undefined) config.setCurrentContext(context);
  return config;
}

/** Runs a command in a pod of a node's own network through the API server: its output, and how it ended. */
async function execOn(
  lab: Lab,
  node: number,
  argv: string[],
  [namespace, name, container] = ['kube-flannel', 'kube-flannel-ds', 'kube-flannel'],
  context?: string,
): Promise<{ stdout: string; status: V1Status }> {
  const output = new PassThrough();
  let stdout = '';
  output.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  const status = await new Promise<V1Status>((resolve, reject) => {
    new Exec(client(lab, context))
      .exec(namespace, `${name}-${node}`, container, argv, output, new PassThrough(), null, false, resolve)
      .catch((error: unknown) => reject(error instanceof Error ? error : new Error('the WebSocket failed')));
  });
  return { stdout, status };
}

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('a lab of three nodes', () => {
  let lab: Lab;

  beforeAll(async () => {
    lab = await createLab({ nodes: 3, nodeMonitorSeconds: 1 });
  });

  afterAll(() => lab.down());

  test('its network is whole', () => expect(expectHealthy(lab)).resolves.toBeUndefined());

  test('its kubeconfig satisfies the Kubernetes client', async () => {
    const { items } = await client(lab).makeApiClient(CoreV1Api).listNode();
    expect(items.map((node) => [node.metadata?.name, node.status?.addresses?.[0]?.address, node.spec?.podCIDR])).toEqual([
      ['node-1', '10.28.87.59', '172.27.1.0/24'],
      ['node-2', '10.28.87.60', '172.27.2.0/24'],
      ['node-3', '10.28.87.61', '172.27.3.0/24'],
    ]);
  });

  test("exec runs in the node's namespaces", async () => {
    const { stdout, status } = await execOn(lab, 2, [
      'sh',
      '-c',
      'hostname; command -v netcheck-agent; command -v fping; exit 3',
    ]);
    expect([stdout.split('\n')[0], stdout.split('\n').length, status.reason, status.details?.causes?.[0]?.message]).toEqual([
      'node-2',
      4,
      'NonZeroExitCode',
      '3',
    ]);
  });

  test("the worker's rights end at starting the agent", async () => {
    const context = `${lab.name}-worker`;
    const agent: [string, string, string] = ['netcheck-agents', 'netcheck-agent', 'agent'];
    const { stdout } = await execOn(lab, 1, ['netcheck-agent', 'collect'], agent, context);
    expect(stdout).toContain('"type":"ready"');
    await expect(execOn(lab, 1, ['true'], agent, context)).rejects.toThrow('the WebSocket failed');
    await expect(execOn(lab, 1, ['true'], undefined, context)).rejects.toThrow('the WebSocket failed');
    const worker = client(lab, context).makeApiClient(CoreV1Api);
    await expect(worker.deleteNamespacedPod({ namespace: 'default', name: 'web-1' })).rejects.toThrow(/403/);
  });

  test("every pod's processes are in a cgroup that names the pod, and in its network namespace", async () => {
    const { stdout } = await lab.exec('node-1', [
      'sh',
      '-c',
      'for p in /proc/[0-9]*; do echo "$(cat $p/cgroup) $(readlink $p/ns/net)"; done',
    ]);
    const byPod = stdout
      .split('\n')
      .map((line) => /kubepods-besteffort-pod([0-9a-f_]+)\.slice\/cri-containerd-[0-9a-f]{64}\.scope (net:\[\d+\])$/.exec(line))
      .filter((match) => match !== null);
    const found = new Map(byPod.map(([, uid = '', namespace = '']) => [uid.replaceAll('_', '-'), namespace]));
    const pods = lab.topology.pods.filter((pod) => pod.node === 'node-1' && pod.network !== null);
    const namespaces = await Promise.all(
      pods.map(
        async (pod) => [pod.uid, (await lab.sh(`${pod.namespace}/${pod.name}`, 'readlink /proc/self/ns/net')).trim()] as const,
      ),
    );
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(namespaces));
  });

  test('what cuts a node off cuts its readiness and exec as well', async () => {
    const api = client(lab).makeApiClient(CoreV1Api);
    const isReady = async (): Promise<string | undefined> =>
      (await api.readNode({ name: 'node-3' })).status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    await lab.fault('rack-cut-node', { node: 'node-3' });
    let hasEnded = false;
    const exec = execOn(lab, 3, ['hostname']).finally(() => {
      hasEnded = true;
    });
    await until(async () => (await isReady()) === 'Unknown', 'node-3 to be lost');
    const hadEnded = hasEnded;
    await lab.heal('rack-cut-node');
    await until(async () => (await isReady()) === 'True', 'node-3 to come back');
    expect([hadEnded, await exec]).toEqual([
      false,
      { stdout: 'node-3\n', status: expect.objectContaining({ status: 'Success' }) },
    ]);
  });
});

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('neighbours', () => {
  test.each([
    [20, false],
    [21, true],
  ])('of a lab of %i nodes are permanent: %s', async (nodes, isPermanent) => {
    const lab = await createLab({ nodes });
    try {
      const permanent = async (where: string, dev: string): Promise<number> =>
        (await lab.sh(where, `ip -o neigh show dev ${dev} nud permanent`)).split('\n').length - 1;
      const counts = await Promise.all([
        permanent('node-1', 'eth0'),
        permanent('cp', 'eth0'),
        permanent('node-1', 'cni0'),
        permanent('default/web-1', 'eth0'),
      ]);
      expect(counts).toEqual(isPermanent ? [nodes + 2, nodes + 2, 4, 1] : [0, 0, 0, 0]);
    } finally {
      await lab.down();
    }
  });
});

describe('a lab that cannot be', () => {
  test('says why', async () => {
    const before = process.env['NETCHECK_LAB_MISSING'];
    process.env['NETCHECK_LAB_MISSING'] = 'no namespaces here';
    try {
      await expect(createLab({ nodes: 2 })).rejects.toThrow('a lab cannot run on this machine: no namespaces here');
    } finally {
      if (before === undefined) delete process.env['NETCHECK_LAB_MISSING'];
      else process.env['NETCHECK_LAB_MISSING'] = before;
    }
  });
});
