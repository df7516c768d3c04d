/** A resource that the server stores. `subresources` can be read and written; writing one writes the object. */
export type ResourceType = {
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly subresources: readonly string[];
};

function type(
  apiVersion: string,
  resource: string,
  kind: string,
  namespaced: boolean,
  shortNames: readonly string[] = [],
  subresources: readonly string[] = [],
): ResourceType {
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  return { group, version, resource, kind, namespaced, shortNames, subresources };
}

export const RESOURCES: readonly ResourceType[] = [
  type('v1', 'nodes', 'Node', false, ['no'], ['status']),
  type('v1', 'pods', 'Pod', true, ['po'], ['status']),
  type('v1', 'services', 'Service', true, ['svc'], ['status']),
  type('v1', 'namespaces', 'Namespace', false, ['ns'], ['status']),
  type('v1', 'configmaps', 'ConfigMap', true, ['cm']),
  type('v1', 'events', 'Event', true, ['ev']),
  type('v1', 'serviceaccounts', 'ServiceAccount', true, ['sa']),
  type('apps/v1', 'daemonsets', 'DaemonSet', true, ['ds'], ['status']),
  type('apps/v1', 'deployments', 'Deployment', true, ['deploy'], ['status']),
  type('apps/v1', 'replicasets', 'ReplicaSet', true, ['rs'], ['status']),
  type('apps/v1', 'controllerrevisions', 'ControllerRevision', true),
  type('discovery.k8s.io/v1', 'endpointslices', 'EndpointSlice', true),
  type('networking.k8s.io/v1', 'networkpolicies', 'NetworkPolicy', true, ['netpol']),
  type('networking.k8s.io/v1', 'ingresses', 'Ingress', true, ['ing'], ['status']),
  type('rbac.authorization.k8s.io/v1', 'roles', 'Role', true),
  type('rbac.authorization.k8s.io/v1', 'rolebindings', 'RoleBinding', true),
  type('rbac.authorization.k8s.io/v1', 'clusterroles', 'ClusterRole', false),
  type('rbac.authorization.k8s.io/v1', 'clusterrolebindings', 'ClusterRoleBinding', false),
  type('admissionregistration.k8s.io/v1', 'mutatingwebhookconfigurations', 'MutatingWebhookConfiguration', false),
  type('admissionregistration.k8s.io/v1', 'validatingwebhookconfigurations', 'ValidatingWebhookConfiguration', false),
  type('admissionregistration.k8s.io/v1', 'validatingadmissionpolicies', 'ValidatingAdmissionPolicy', false, [], ['status']),
  type('admissionregistration.k8s.io/v1', 'validatingadmissionpolicybindings', 'ValidatingAdmissionPolicyBinding', false),
];

/** Answered, never stored. */
export const REVIEW_GROUP = { group: 'authorization.k8s.io', version: 'v1', resource: 'selfsubjectaccessreviews' } as const;

export function apiVersionOf(of: { readonly group: string; readonly version: string }): string {
  return of.group === '' ? of.version : `${of.group}/${of.version}`;
}

/** The type of an object by its apiVersion and kind. */
export function typeOfObject(apiVersion: string, kind: string): ResourceType | undefined {
  return RESOURCES.find((candidate) => apiVersionOf(candidate) === apiVersion && candidate.kind === kind);
}

/** The type with this plural name, such as `pods`. */
export function typeNamed(resource: string): ResourceType | undefined {
  return RESOURCES.find((candidate) => candidate.resource === resource);
}

/** The parts of a request path that is about a resource. `namespace` and `name` are empty where the path has none. */
export type ResourcePath = {
  readonly group: string;
  readonly version: string;
  readonly namespace: string;
  readonly resource: string;
  readonly name: string;
  readonly subresource: string;
};

/** Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`; null for any other path. */
export function parseResourcePath(path: string): ResourcePath | null {
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .map(decodeURIComponent);
  const root = parts.shift();
  if (root !== 'api' && root !== 'apis') return null;
  const group = root === 'api' ? '' : (parts.shift() ?? '');
  const version = parts.shift();
  if (version === undefined || parts.length === 0) return null;
  // `namespaces/NAME` and its subresources are the Namespace itself; anything longer is inside it.
  const isScoped = parts[0] === 'namespaces' && parts.length > 2 && !['status', 'finalize'].includes(parts[2] ?? '');
  const namespace = isScoped ? (parts.splice(0, 2)[1] ?? '') : '';
  const [resource = '', name = '', subresource = '', ...rest] = parts;
  return rest.length > 0 ? null : { group, version, namespace, resource, name, subresource };
}

/** The documents of `/api` and `/apis` that a client discovers the server by; null for a path that is none of them. */
export function discovery(path: string): object | null {
  const groups = [...new Set([...RESOURCES.map((candidate) => candidate.group), REVIEW_GROUP.group])].filter(
    (group) => group !== '',
  );
  const parts = path.split('/').filter((part) => part !== '');
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
  if (path === '/apis') return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(groupDocument) };
  if (parts.length === 2 && parts[0] === 'api' && parts[1] === 'v1') return resourceList('', 'v1');
  if (parts[0] === 'apis' && groups.includes(parts[1] ?? '')) {
    if (parts.length === 2) return { kind: 'APIGroup', apiVersion: 'v1', ...groupDocument(parts[1] ?? '') };
    if (parts.length === 3 && parts[2] === 'v1') return resourceList(parts[1] ?? '', 'v1');
  }
  return null;
}

function groupDocument(name: string): object {
  const version = { groupVersion: `${name}/v1`, version: 'v1' };
  return { name, versions: [version], preferredVersion: version };
}

function resourceList(group: string, version: string): object {
  const resources = RESOURCES.filter((candidate) => candidate.group === group).flatMap((candidate) => {
    const { resource, kind, namespaced, shortNames } = candidate;
    const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
    const own = { name: resource, singularName: kind.toLowerCase(), namespaced, kind, verbs, shortNames };
    const below = candidate.subresources.map((sub) => ({
      name: `${resource}/${sub}`,
      singularName: '',
      namespaced,
      kind,
      verbs: ['get', 'patch', 'update'],
    }));
    return [own, ...below];
  });
  const connect = { singularName: '', namespaced: true };
  if (group === '') {
    resources.push(
      { ...connect, name: 'pods/exec', kind: 'PodExecOptions', verbs: ['create', 'get'] },
      { ...connect, name: 'pods/log', kind: 'Pod', verbs: ['get'] },
    );
  }
  if (group === REVIEW_GROUP.group) {
    resources.push({
      name: REVIEW_GROUP.resource,
      singularName: '',
      namespaced: false,
      kind: 'SelfSubjectAccessReview',
      verbs: ['create'],
    });
  }
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersionOf({ group, version }), resources };
}
