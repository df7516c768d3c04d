import { describe, expect, test } from 'vitest';
import { formatConfigProblems, readConfig } from '../../src/config.ts';
import { makeApprovalKeys } from '../action.ts';
import { type KubeObject, listAt, textAt, valueAt } from '../lab/api/objects.ts';
import { APP_TOKEN, BOT_TOKEN, SIGNING_SECRET } from '../slack.ts';
import { INSTALLATIONS, installed } from './manifests.ts';
import { schemaProblems } from './schema.ts';

const WORKERS = ['netcheck-worker', 'netcheck-remediation'];

/** What every cluster has. */
const OF_KUBERNETES = ['Namespace default', 'Namespace kube-system'];

/** What is made by hand, once, as docs/installation.md says: no manifest holds a secret. */
const MADE_BY_HAND = [
  'Secret netcheck-slack',
  'Secret netcheck-redis',
  'Secret netcheck-approval-key',
  'ConfigMap netcheck-approval-key',
];

function workloads(objects: readonly KubeObject[]): readonly KubeObject[] {
  return objects.filter(({ kind }) => ['Deployment', 'DaemonSet'].includes(kind));
}

function podOf(workload: KubeObject | undefined): unknown {
  return valueAt(workload, 'spec', 'template', 'spec');
}

function containersOf(workload: KubeObject | undefined): readonly unknown[] {
  return listAt(podOf(workload), 'containers');
}

function named(objects: readonly KubeObject[], kind: string, name: string): KubeObject | undefined {
  return objects.find((object) => object.kind === kind && object.metadata.name === name);
}

/** Every value under a key, however deep. */
function valuesOf(value: unknown, key: string): unknown[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => [...(name === key ? [inner] : []), ...valuesOf(inner, key)]);
}

test('there is an installation for each purpose', () => {
  expect(INSTALLATIONS.toSorted()).toEqual([
    'agents',
    'many-clusters',
    'many-clusters-cluster',
    'production',
    'read-only',
    'try-out',
  ]);
});

describe.each(INSTALLATIONS)('%s', (name) => {
  const objects = installed(name);

  test('is valid for Kubernetes, field by field', async () => {
    const problems = await Promise.all(
      objects.map(async (object) =>
        (await schemaProblems(object)).map((problem) => `${object.kind} ${object.metadata.name}: ${problem}`),
      ),
    );
    expect(problems.flat()).toEqual([]);
  });

  test('its rights hold nothing of the deny list', () => {
    const rules = objects
      .filter(({ kind }) => kind.endsWith('Role'))
      .flatMap((role) => listAt(role, 'rules').map((rule) => ({ role, rule })));
    const wrong = rules.filter(({ role, rule }) => {
      const resources = listAt(rule, 'resources').map(String);
      const verbs = listAt(rule, 'verbs').map(String);
      const isOdd = [...resources, ...verbs, ...listAt(rule, 'apiGroups')].includes('*') || resources.length === 0;
      const isForbidden = resources.some((one) =>
        /^secrets|^nodes\/|\/proxy$|\/(attach|portforward|ephemeralcontainers)$|token|roles|bindings/.test(one),
      );
      // To read whom the API server calls is no way to be called by it.
      const isWebhookWritten = resources.some((one) => one.includes('webhook')) && verbs.join() !== 'list';
      const isEscalation = verbs.some((verb) => ['impersonate', 'escalate', 'bind', 'deletecollection', 'watch'].includes(verb));
      const isStrayExec =
        resources.includes('pods/exec') && (role.kind !== 'Role' || role.metadata.namespace !== 'netcheck-agents');
      const isStrayLog = resources.includes('pods/log') && (role.kind !== 'Role' || role.metadata.namespace !== 'kube-system');
      const isRemedies = role.metadata.name === 'netcheck-remedies';
      const isListOfConfigMaps =
        resources.includes('configmaps') &&
        (verbs.some((verb) => verb !== 'get' && !(isRemedies && verb === 'patch')) || listAt(rule, 'resourceNames').length === 0);
      const isWrite = !isRemedies && verbs.some((verb) => ['update', 'patch', 'delete'].includes(verb));
      const isStrayEvent =
        resources.includes('events') && verbs.join() !== 'list' && `${role.kind} ${role.metadata.namespace}` !== 'Role default';
      return (
        isOdd ||
        isForbidden ||
        isWebhookWritten ||
        isEscalation ||
        isStrayExec ||
        isStrayLog ||
        isStrayEvent ||
        isListOfConfigMaps ||
        isWrite
      );
    });
    expect(wrong).toEqual([]);
  });

  test('only workers have rights', () => {
    const bindings = objects.filter(({ kind }) => kind.endsWith('RoleBinding'));
    const subjects = new Set(
      bindings.flatMap((binding) => listAt(binding, 'subjects')).map((subject) => JSON.stringify(subject)),
    );
    const accounts = [...subjects]
      .map((subject) => JSON.parse(subject) as object)
      .map((subject) => `${textAt(subject, 'kind')} ${textAt(subject, 'namespace')}/${textAt(subject, 'name')}`);
    const here = WORKERS.filter((worker) => named(objects, 'ServiceAccount', worker) !== undefined);
    expect(accounts.toSorted()).toEqual(here.map((worker) => `ServiceAccount netcheck/${worker}`).toSorted());
  });

  test('a token of Kubernetes is mounted into workers only', () => {
    const mounted = workloads(objects).filter((workload) => valueAt(podOf(workload), 'automountServiceAccountToken') !== false);
    expect(mounted.map(({ metadata }) => metadata.name).filter((one) => !WORKERS.includes(one))).toEqual([]);
  });

  test('bot and workers need nothing of the network that they look at', () => {
    const ours = workloads(objects).filter(({ metadata }) => ['netcheck-bot', ...WORKERS].includes(metadata.name));
    expect(ours.map((one) => [valueAt(podOf(one), 'hostNetwork'), valueAt(podOf(one), 'dnsPolicy')])).toEqual(
      ours.map(() => [true, 'Default']),
    );
    const workers = ours.filter(({ metadata }) => metadata.name !== 'netcheck-bot');
    expect(workers.map((one) => valueAt(podOf(one), 'tolerations'))).toEqual(workers.map(() => [{ operator: 'Exists' }]));
    const from = workers.flatMap((one) =>
      containersOf(one).map((container) => textAt(listAt(container, 'envFrom')[0], 'configMapRef', 'name')),
    );
    const addresses = from.map((one) =>
      Object.keys((valueAt(named(objects, 'ConfigMap', one), 'data') as object | undefined) ?? {}),
    );
    expect(addresses).toEqual(
      workers.map(() => (name === 'try-out' ? [] : ['KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'])),
    );
  });

  test('whatever does not have to be root on a node is confined', () => {
    const confined = workloads(objects).filter(({ metadata }) => metadata.name !== 'netcheck-agent');
    expect(confined.flatMap((one) => containersOf(one)).map((container) => valueAt(container, 'securityContext'))).toEqual(
      confined.map(() => ({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } })),
    );
    expect(
      confined.map((one) => [valueAt(podOf(one), 'securityContext', 'runAsNonRoot'), valueAt(podOf(one), 'hostPID')]),
    ).toEqual(confined.map(() => [true, undefined]));
  });

  test('what is referred to is there, or is made by hand', () => {
    const references = [
      ...['ConfigMap', 'Secret'].flatMap((kind) => {
        const keys =
          kind === 'Secret' ? ['secretKeyRef', 'secretRef', 'secret'] : ['configMapRef', 'configMapKeyRef', 'configMap'];
        return keys
          .flatMap((key) => valuesOf(workloads(objects), key))
          .map((reference) => `${kind} ${textAt(reference, 'name') || textAt(reference, 'secretName')}`);
      }),
      ...valuesOf(objects, 'serviceAccountName').map((account) => `ServiceAccount ${String(account)}`),
      ...valuesOf(objects, 'priorityClassName').map((priority) => `PriorityClass ${String(priority)}`),
      ...valuesOf(objects, 'claimName').map((claim) => `PersistentVolumeClaim ${String(claim)}`),
      ...valuesOf(objects, 'policyName').map((policy) => `ValidatingAdmissionPolicy ${String(policy)}`),
      ...valuesOf(objects, 'roleRef').map((role) => `${textAt(role, 'kind')} ${textAt(role, 'name')}`),
      ...objects.flatMap(({ metadata }) => (metadata.namespace === undefined ? [] : [`Namespace ${metadata.namespace}`])),
    ];
    const present = [...objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`), ...MADE_BY_HAND, ...OF_KUBERNETES];
    expect([...new Set(references)].filter((reference) => !present.includes(reference))).toEqual([]);
  });

  test('selectors select what they are meant to', () => {
    const labels = workloads(objects).map(
      (one) => valueAt(one, 'spec', 'template', 'metadata', 'labels') as Record<string, string>,
    );
    const selectors = [
      ...objects.filter(({ kind }) => kind === 'Service').map((service) => valueAt(service, 'spec', 'selector')),
      ...valuesOf(objects, 'matchLabels').filter((wanted) => textAt(wanted, 'kubernetes.io/metadata.name') === ''),
    ] as Record<string, string>[];
    expect(
      selectors.filter((wanted) => !labels.some((have) => Object.entries(wanted).every(([key, value]) => have[key] === value))),
    ).toEqual([]);
  });

  test('its configuration is one, for whoever it is mounted into', () => {
    const keys = makeApprovalKeys();
    const environment = {
      NETCHECK_SLACK_SIGNING_SECRET: SIGNING_SECRET,
      NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN,
      NETCHECK_SLACK_APP_TOKEN: APP_TOKEN,
      NETCHECK_APPROVAL_KEY: keys.privateKey,
    };
    const configured = workloads(objects).filter(({ metadata }) => ['netcheck-bot', ...WORKERS].includes(metadata.name));
    const results = configured.map((one) => {
      const role = one.metadata.name === 'netcheck-bot' ? ('bot' as const) : ('worker' as const);
      const map = listAt(podOf(one), 'volumes')
        .map((volume) => textAt(volume, 'configMap', 'name'))
        .find((map) => named(objects, 'ConfigMap', map) !== undefined);
      const read = readConfig(textAt(named(objects, 'ConfigMap', map ?? ''), 'data', 'netcheck.yaml'), environment, role);
      if (!read.ok) return formatConfigProblems(one.metadata.name, read.error);
      return { remedies: read.value.remedies.enabled, isEncrypted: read.value.redis.url.startsWith('rediss:') };
    });
    expect(results).toEqual(configured.map(() => ({ remedies: name === 'production', isEncrypted: name !== 'try-out' })));
  });
});

test.each(INSTALLATIONS.filter((name) => name !== 'production'))('%s holds nothing of remedies', (name) => {
  const text = JSON.stringify(installed(name).filter(({ kind }) => kind !== 'ConfigMap'));
  expect(text).not.toMatch(/remed|approval/);
});

test('production adds a worker, a container and rights for remedies, and changes nothing else but the policy', () => {
  const without = new Map(
    installed('read-only').map((object) => [
      `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name.replace(/-[a-z0-9]{10}$/, '')}`,
      object,
    ]),
  );
  const production = installed('production').map(
    (object) =>
      [
        `${object.kind} ${object.metadata.namespace ?? ''}/${object.metadata.name.replace(/-[a-z0-9]{10}$/, '')}`,
        object,
      ] as const,
  );
  const added = production.filter(([key]) => !without.has(key)).map(([key]) => key);
  const changed = production.filter(([key, object]) => {
    const before = without.get(key);
    return (
      before !== undefined &&
      object.kind !== 'ConfigMap' &&
      JSON.stringify(before).replaceAll(/-[a-z0-9]{10}"/g, '"') !== JSON.stringify(object).replaceAll(/-[a-z0-9]{10}"/g, '"')
    );
  });
  expect(added.toSorted()).toEqual([
    'ClusterRole /netcheck-remedies',
    'ClusterRoleBinding /netcheck-remediation-read',
    'ClusterRoleBinding /netcheck-remediation-remedies',
    'Deployment netcheck/netcheck-remediation',
    'PersistentVolumeClaim netcheck/netcheck-audit',
    'Role default/netcheck-events',
    'RoleBinding default/netcheck-remediation-events',
    'RoleBinding kube-system/netcheck-remediation-logs',
    'RoleBinding netcheck-agents/netcheck-remediation-exec',
    'ServiceAccount netcheck/netcheck-remediation',
    'ValidatingAdmissionPolicy /netcheck-remedies',
    'ValidatingAdmissionPolicyBinding /netcheck-remedies',
  ]);
  expect(changed.map(([key]) => key).toSorted()).toEqual([
    'DaemonSet netcheck-agents/netcheck-agent',
    'Deployment netcheck/netcheck-bot',
    'ValidatingAdmissionPolicy /netcheck-agents',
  ]);
  const containers = containersOf(named(installed('production'), 'DaemonSet', 'netcheck-agent'));
  expect(containers.map((container) => textAt(container, 'name')).toSorted()).toEqual(['agent', 'remedy']);
});
