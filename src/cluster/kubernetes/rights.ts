/**
 * Every request that netcheck makes to an API server, and why. The methods of `Api` take no other paths, and the RBAC
 * rules of deploy/ and the table in docs/security.md are generated from here: a new request is a line in `REQUESTS`, then
 * `npm run generate`. In a path, `{namespace}` and `{name}` stand for whatever is filled in, `{agents}` for the namespace
 * of the agents; a path that names another namespace confines the right to that.
 */
type Request = {
  readonly verb: 'get' | 'list' | 'create' | 'patch' | 'delete';
  readonly path: `/${string}`;
  /** The only names that may be filled in. */
  readonly names?: readonly string[];
  /** Needs no rule of its own: Kubernetes grants it to everybody who has logged in, or another line here covers it. */
  readonly isGranted?: true;
  /** Asked for by remedies only: the worker that diagnoses does not get it. */
  readonly isForRemedies?: true;
  readonly why: string;
};

/** The only ConfigMaps that are read, by name: never a list, so that no secret in another one passes through. */
export const CONFIG_MAPS = [
  'kube-flannel/kube-flannel-cfg',
  'kube-system/kube-flannel-cfg',
  'kube-system/coredns',
  'kube-system/kube-proxy',
  'kube-system/kubeadm-config',
] as const;

export const REQUESTS = [
  { verb: 'list', path: '/api/v1/nodes', why: 'between which nodes to probe; their addresses, pod networks and readiness' },
  { verb: 'list', path: '/api/v1/pods', why: 'between which pods to probe; where the agents and the backends of services are' },
  { verb: 'list', path: '/api/v1/namespaces/{agents}/pods', isGranted: true, why: 'the agents, before all pods are known' },
  {
    verb: 'list',
    path: '/api/v1/namespaces/{namespace}/pods',
    isGranted: true,
    isForRemedies: true,
    why: 'whether the pod that takes the place of a restarted one is ready',
  },
  { verb: 'list', path: '/api/v1/services', why: 'which cluster addresses and node ports lead to which pods' },
  { verb: 'list', path: '/api/v1/namespaces', why: 'their labels: network policies select by them' },
  {
    verb: 'list',
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    why: 'the backends that a service really has, to probe them one by one',
  },
  {
    verb: 'list',
    path: '/apis/networking.k8s.io/v1/networkpolicies',
    why: 'which connections are meant to fail: those are no symptoms',
  },
  {
    verb: 'list',
    path: '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
    why: 'what the API server has to reach before it takes in an object; of each only its Service or host and what its failure means',
  },
  {
    verb: 'list',
    path: '/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
    why: 'likewise',
  },
  { verb: 'list', path: '/api/v1/events', why: 'the warnings of the last hour, such as a sandbox that got no address' },
  {
    verb: 'get',
    path: '/api/v1/namespaces/{namespace}/configmaps/{name}',
    names: namesOf(CONFIG_MAPS),
    why: 'how flannel, kube-proxy and CoreDNS are configured; by name, so that no other ConfigMap can be read',
  },
  {
    verb: 'get',
    path: '/api/v1/namespaces/kube-system/pods/{name}/log',
    why: 'what CoreDNS says of loops and of servers that do not answer it: the last 200 lines, of which such lines alone are kept',
  },
  { verb: 'get', path: '/version', isGranted: true, why: 'the version of the API server' },
  {
    verb: 'get',
    path: '/api/v1/namespaces/{agents}/pods/{name}/exec',
    why: 'starts the agent on a node: a WebSocket is opened with GET',
  },
  {
    verb: 'create',
    path: '/api/v1/namespaces/{agents}/pods/{name}/exec',
    why: 'the same, as API servers from 1.35 on ask for it',
  },
  {
    verb: 'get',
    path: '/api/v1/namespaces/{namespace}/pods/{name}',
    isForRemedies: true,
    why: 'whether the pod that a remedy restarts is still the one that was found',
  },
  {
    verb: 'delete',
    path: '/api/v1/namespaces/{namespace}/pods/{name}',
    isForRemedies: true,
    why: 'restarts flannel or kube-proxy on a node, by the uid of its pod; the admission policy lets it delete no other pods',
  },
  {
    verb: 'patch',
    path: '/api/v1/namespaces/{namespace}/configmaps/{name}',
    names: ['kube-flannel-cfg'],
    isForRemedies: true,
    why: "changes flannel's backend, at the version that was read",
  },
  {
    verb: 'create',
    path: '/api/v1/namespaces/default/events',
    isForRemedies: true,
    why: 'tells on the node that a remedy has ended, where `remedies.events` asks for it; Events about nodes are in this namespace',
  },
  {
    verb: 'create',
    path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    isGranted: true,
    why: 'netcheck doctor asks which of these rights it has',
  },
] as const satisfies readonly Request[];

type Filled<Path extends string> = Path extends `${infer Before}{${string}}${infer After}`
  ? `${Before}${string}${Filled<After>}`
  : Path;
type PathOf<Verb extends Request['verb']> = Filled<Extract<(typeof REQUESTS)[number], { verb: Verb }>['path']>;

/** What may be read, listed and opened. Where the compiler refuses a path, it is missing in `REQUESTS`. */
export type GetPath = PathOf<'get'>;
export type LogPath = `${Filled<'/api/v1/namespaces/kube-system/pods/{name}/log'>}?${string}`;
export type ListPath = PathOf<'list'> | `${PathOf<'list'>}?${string}`;
export type ExecPath = Filled<'/api/v1/namespaces/{agents}/pods/{name}/exec'>;

/** A right as RBAC has it: `subresource` is part of `resource`; `isForAgents` confines it to their namespace, `namespace` to another one. */
export type Right = {
  readonly verb: Request['verb'];
  readonly group: string;
  readonly resource: string;
  readonly names: readonly string[];
  readonly isForAgents: boolean;
  readonly namespace: string | null;
  readonly isForRemedies: boolean;
  readonly why: string;
};

/** The rights that netcheck has to be given; those that need no rule are left out. */
export function rights(requests: readonly Request[] = REQUESTS): readonly Right[] {
  return requests
    .filter(({ isGranted }) => isGranted !== true)
    .map(({ verb, path, names = [], isForRemedies = false, why }) => {
      const parts = path.split('/').slice(1);
      const group = parts[0] === 'apis' ? (parts[1] ?? '') : '';
      const rest = parts.slice(parts[0] === 'apis' ? 3 : 2);
      const isInside = rest[0] === 'namespaces' && rest.length > 2;
      const [resource = '', , subresource] = isInside ? rest.slice(2) : rest;
      return {
        verb,
        group,
        resource: subresource === undefined ? resource : `${resource}/${subresource}`,
        names,
        isForAgents: isInside && rest[1] === '{agents}',
        namespace: isInside && rest[1]?.startsWith('{') === false ? rest[1] : null,
        isForRemedies,
        why,
      };
    });
}

function namesOf(keys: readonly string[]): readonly string[] {
  return [...new Set(keys.map((key) => key.slice(key.indexOf('/') + 1)))];
}
