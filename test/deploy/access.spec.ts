import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openExec } from '../../src/cluster/kubernetes/exec.ts';
import { createKubernetesCluster, type KubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import { loadLogin } from '../../src/cluster/kubernetes/kubeconfig.ts';
import { CONFIG_MAPS } from '../../src/cluster/kubernetes/rights.ts';
import { temporaryFolder } from '../folder.ts';
import { type KubeObject, listAt, object } from '../lab/api/objects.ts';
import { parseResourcePath } from '../lab/api/resources.ts';
import { agentPod, createSmallCluster, type SmallCluster } from '../lab/api/small-cluster.ts';
import { installed } from './manifests.ts';

/*
 * The code against an API server that enforces what is installed: RBAC rules and admission policy out of the rendered
 * manifests, and nothing beside them.
 */

const ACCOUNTS = ['netcheck-worker', 'netcheck-remediation', 'netcheck-bot', 'netcheck-agent'] as const;
type Account = (typeof ACCOUNTS)[number];

const TOLD = { node: { name: 'node-1', uid: 'uid-1' }, isGood: true, reason: 'RemedyHealed', message: 'a test' };

const folder = temporaryFolder();
const soon = (): AbortSignal => AbortSignal.timeout(5_000);

/** The rules of an installation, as `VERB GROUP/RESOURCE[/NAME]`. */
function rulesOf(objects: readonly KubeObject[]): readonly string[] {
  const rules = objects.filter(({ kind }) => kind.endsWith('Role')).flatMap((role) => listAt(role, 'rules'));
  return rules.flatMap((rule) => {
    const names =
      listAt(rule, 'resourceNames').length === 0 ? [''] : listAt(rule, 'resourceNames').map((name) => `/${String(name)}`);
    return listAt(rule, 'verbs').flatMap((verb) =>
      listAt(rule, 'resources').flatMap((resource) =>
        names.map((name) => `${String(verb)} ${String(listAt(rule, 'apiGroups')[0])}/${String(resource)}${name}`),
      ),
    );
  });
}

describe.each(['read-only', 'production'] as const)('the rights of %s', (installation) => {
  const asked = new Set<string>();
  let small: SmallCluster;
  const clusters: KubernetesCluster[] = [];

  beforeAll(async () => {
    const pod = agentPod('node-1', 1);
    const containers = [{ name: 'agent' }, { name: 'remedy' }];
    small = await createSmallCluster({
      nodes: 1,
      command: () => ['sh', '-c', 'echo ready; exec cat'],
      tokens: [
        { token: 'admin', user: 'admin', groups: ['system:masters'] },
        ...ACCOUNTS.map((account) => {
          const namespace = account === 'netcheck-agent' ? 'netcheck-agents' : 'netcheck';
          return { token: account, user: `system:serviceaccount:${namespace}:${account}`, groups: [] };
        }),
      ],
      objects: [
        ...installed(installation).filter(({ kind }) => /^(Cluster)?Role(Binding)?$|^ValidatingAdmissionPolicy/.test(kind)),
        object('v1', 'Pod', { namespace: 'netcheck-agents', name: 'both' }, { spec: { nodeName: 'node-1', containers } }),
        { ...pod, metadata: { ...pod.metadata, name: 'agent-with-remedy' }, spec: { nodeName: 'node-1', containers } },
        object(
          'v1',
          'Pod',
          { namespace: 'default', name: 'web' },
          { spec: { nodeName: 'node-1', containers: [{ name: 'web' }] } },
        ),
        object(
          'v1',
          'Pod',
          { namespace: 'kube-system', name: 'coredns-1', labels: { 'k8s-app': 'kube-dns' } },
          {
            spec: { nodeName: 'node-1', containers: [{ name: 'coredns' }] },
            status: {
              phase: 'Running',
              containerStatuses: [{ name: 'coredns', ready: true, restartCount: 0, state: { running: {} } }],
            },
          },
        ),
        object('v1', 'ConfigMap', { namespace: 'kube-flannel', name: 'kube-flannel-cfg' }, { data: { key: 'flannel' } }),
        object(
          'v1',
          'Pod',
          {
            namespace: 'kube-flannel',
            name: 'kube-flannel-ds-1',
            ownerReferences: [{ apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'kube-flannel-ds', uid: 'ds', controller: true }],
          },
          { spec: { nodeName: 'node-1', containers: [{ name: 'kube-flannel' }] } },
        ),
        ...CONFIG_MAPS.filter((key) => key.startsWith('kube-system/')).map((key) =>
          object('v1', 'ConfigMap', { namespace: 'kube-system', name: key.split('/')[1] ?? '' }, { data: { key } }),
        ),
      ],
      onRequest: ({ method, url }) => {
        const { pathname, searchParams } = new URL(url, 'https://kubernetes');
        const path = parseResourcePath(pathname);
        if (path === null || path.group === 'authorization.k8s.io') return;
        const resource = `${path.group}/${path.resource}${path.subresource === '' ? '' : `/${path.subresource}`}`;
        // A WebSocket is a GET, and servers from 1.35 on ask for `create` as well.
        // Any pod's log of a namespace is one right.
        if (path.subresource === 'log') asked.add(`get ${resource}`);
        else if (path.subresource === 'exec') asked.add(`get ${resource}`).add(`create ${resource}`);
        else if (method !== 'GET') asked.add(`${method === 'POST' ? 'create' : method} ${resource}`);
        else
          asked.add(
            path.name === '' ? `${searchParams.has('watch') ? 'watch' : 'list'} ${resource}` : `get ${resource}/${path.name}`,
          );
      },
    });
  });

  afterAll(async () => {
    await Promise.all(clusters.map((cluster) => cluster.close()));
    await small.close();
  });

  async function kubeconfigOf(account: Account | 'admin'): Promise<string> {
    const file = join(folder, account);
    await writeFile(file, small.api.kubeconfig(account));
    return file;
  }

  async function as(account: Account): Promise<KubernetesCluster> {
    const created = createKubernetesCluster({ kubeconfig: await kubeconfigOf(account), log: { debug: () => {} } });
    if (!created.ok) throw new Error(created.fault.message);
    clusters.push(created.value);
    return created.value;
  }

  /** What comes of an exec: `ok`, or why not. */
  async function exec(account: Account | 'admin', pod: string, container: string, argv: readonly string[]): Promise<string> {
    const login = loadLogin({ kubeconfig: await kubeconfigOf(account), context: undefined, env: {}, serviceAccountDir: '' });
    if (!login.ok) throw new Error(login.fault.message);
    const [namespace = '', name = ''] = pod.split('/');
    const opened = await openExec(login.value, { node: 'node-1', namespace, pod: name, container, argv }, soon());
    if (!opened.ok) return opened.fault.message;
    opened.value.close();
    return 'ok';
  }

  test('suffice for all that a worker does, and none of them is left over', async () => {
    const worker = await as('netcheck-worker');
    const inventory = await worker.inventory(soon());
    if (!inventory.ok) throw new Error(inventory.fault.message);
    expect(inventory.value.gaps).toEqual([]);
    const opened = await worker.openAgent('node-1', soon());
    expect(opened.ok ? 'ok' : opened.fault).toBe('ok');
    // Only the remediation worker has more to do.
    const isOn = installation === 'production';
    const told = isOn && (await (await as('netcheck-remediation')).writeEvent({ name: 'netcheck.a1', ...TOLD }, soon()));
    expect(told).toEqual(isOn && { ok: true, value: null });
    const own = installed(installation).filter(({ metadata }) => metadata.name !== 'netcheck-remedies');
    expect([...asked].toSorted()).toEqual([...new Set(rulesOf(own))].toSorted());
  });

  // Of an installation without remedies there is nothing to see.
  const withRemedies = installation === 'production' ? [installation] : [];
  test.each(withRemedies)('suffice for all that remedies write in %s, and none of them is left over', async () => {
    const worker = await as('netcheck-remediation');
    asked.clear();
    const map = { group: '', version: 'v1', resource: 'configmaps', namespace: 'kube-flannel', name: 'kube-flannel-cfg' };
    const pod = { group: '', version: 'v1', resource: 'pods', namespace: 'kube-flannel', name: 'kube-flannel-ds-1' };
    const [config, flannel] = await Promise.all([worker.read(map, soon()), worker.read(pod, soon())]);
    if (!config.ok || !flannel.ok) throw new Error('what remedies change cannot be read');
    expect(await worker.patch(map, { data: { 'net-conf.json': '{}' } }, config.value, soon())).toMatchObject({ ok: true });
    expect(await worker.deletePod({ namespace: 'kube-flannel', name: pod.name }, flannel.value.uid, soon())).toMatchObject({
      ok: true,
    });
    const role = installed(installation).filter(({ metadata }) => metadata.name === 'netcheck-remedies');
    const rules = new Set(rulesOf(role).map((rule) => rule.replace('get /pods', `get /pods/${pod.name}`)));
    const written = [...asked].map((rule) =>
      rule.replace('PATCH /configmaps', `patch /configmaps/${map.name}`).replace('DELETE', 'delete'),
    );
    // That ConfigMap may be read by both workers.
    expect(written.filter((rule) => rule !== `get /configmaps/${map.name}`).toSorted()).toEqual([...rules].toSorted());
    const web = await worker.read({ ...pod, namespace: 'default', name: 'web' }, soon());
    expect(await worker.deletePod({ namespace: 'default', name: 'web' }, web.ok ? web.value.uid : '', soon())).toMatchObject({
      fault: {
        kind: 'forbidden',
        message: expect.stringContaining('may delete pods of the DaemonSets of flannel and kube-proxy only'),
      },
    });
    const reader = await as('netcheck-worker');
    expect(await reader.deletePod({ namespace: 'default', name: 'web' }, '', soon())).toMatchObject({
      fault: { kind: 'forbidden' },
    });
  });

  test('let the remediation worker do the same, and remedies where they are on', async () => {
    const worker = await as('netcheck-remediation');
    const inventory = await worker.inventory(soon());
    const isOn = installation === 'production';
    expect(inventory.ok).toBe(isOn);
    const remedy = ['netcheck-agent', 'remedy'];
    expect((await exec('netcheck-remediation', 'netcheck-agents/both', 'remedy', remedy)) === 'ok').toBe(isOn);
    expect(await exec('netcheck-worker', 'netcheck-agents/both', 'remedy', remedy)).toMatch(
      /denied request: in netcheck-agents only/,
    );
    expect(await exec('admin', 'netcheck-agents/both', 'remedy', remedy)).toMatch(/denied request: in netcheck-agents only/);
  });

  test('let nobody but the remediation worker write Events, and those only about what is in no namespace', async () => {
    const allowed = async (account: Account, namespace?: string): ReturnType<KubernetesCluster['canI']> => {
      const access = { verb: 'create', group: '', resource: 'events', ...(namespace === undefined ? {} : { namespace }) };
      return (await as(account)).canI(access, soon());
    };
    const isOn = installation === 'production';
    expect(await allowed('netcheck-remediation', 'default')).toEqual({ ok: true, value: isOn });
    expect(await allowed('netcheck-remediation', 'kube-system')).toEqual({ ok: true, value: false });
    expect(await allowed('netcheck-remediation')).toEqual({ ok: true, value: false });
    expect(await allowed('netcheck-worker', 'default')).toEqual({ ok: true, value: false });
  });

  test('let nobody start anything else in the agents', async () => {
    const collect = ['netcheck-agent', 'collect'];
    expect(await exec('netcheck-worker', 'netcheck-agents/both', 'agent', collect)).toBe('ok');
    expect(await exec('admin', 'netcheck-agents/both', 'agent', collect)).toBe('ok');
    for (const account of ['netcheck-worker', 'netcheck-remediation', 'admin'] as const) {
      for (const [container, argv] of [
        ['agent', ['sh']],
        ['agent', [...collect, 'more']],
        ['agent', ['netcheck-agent', 'remedy']],
        ['remedy', collect],
        ['remedy', ['sh', '-c', 'netcheck-agent remedy']],
      ] as const) {
        expect(await exec(account, 'netcheck-agents/both', container, argv)).toMatch(/denied request|cannot get resource/);
      }
    }
  });

  test('end at the agents, and at reading', async () => {
    expect(await exec('netcheck-worker', 'default/web', 'web', ['netcheck-agent', 'collect'])).toMatch(
      /cannot get resource "pods\/exec"/,
    );
    const worker = await as('netcheck-worker');
    const denied = [
      { verb: 'list', group: '', resource: 'secrets' },
      { verb: 'get', group: '', resource: 'secrets', namespace: 'netcheck', name: 'netcheck-redis' },
      { verb: 'list', group: '', resource: 'configmaps' },
      { verb: 'get', group: '', resource: 'configmaps', namespace: 'default', name: 'settings' },
      { verb: 'get', group: '', resource: 'nodes', subresource: 'proxy', name: 'node-1' },
      { verb: 'get', group: '', resource: 'pods', subresource: 'log', namespace: 'default', name: 'web' },
      { verb: 'create', group: '', resource: 'pods', namespace: 'netcheck-agents' },
      { verb: 'delete', group: '', resource: 'pods', namespace: 'netcheck-agents' },
      { verb: 'patch', group: 'apps', resource: 'daemonsets', namespace: 'netcheck-agents', name: 'netcheck-agent' },
      { verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace: 'default' },
    ];
    const answers = await Promise.all(denied.map((access) => worker.canI(access, soon())));
    expect(answers).toEqual(denied.map(() => ({ ok: true, value: false })));
  });

  test.each(['netcheck-bot', 'netcheck-agent'] as const)('are none for %s', async (account) => {
    const cluster = await as(account);
    expect(await cluster.inventory(soon())).toMatchObject({ ok: false, fault: { kind: 'forbidden' } });
    expect(await cluster.openAgent('node-1', soon())).toMatchObject({ ok: false, fault: { kind: 'forbidden' } });
  });
});
