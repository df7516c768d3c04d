import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createNetServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { z } from 'zod';
import { connectDenial, deleteDenial } from './admission.ts';
import { createCertificates, keepCertificates } from './certificates.ts';
import { createSwitches, Faults } from './faults.ts';
import { createKubeletProxy, type KubeletAddress, refuseUpgrade } from './kubelets.ts';
import { startNodeMonitor } from './node-monitor.ts';
import { type KubeObject, listAt, textAt, valueAt } from './objects.ts';
import { type Access, ADMINS, forbidden, isAllowed, type User } from './rbac.ts';
import { withReadiness } from './readiness.ts';
import {
  discovery,
  parseResourcePath,
  RESOURCES,
  REVIEW_GROUP,
  type ResourcePath,
  type ResourceType,
  typeNamed,
  typeOfObject,
} from './resources.ts';
import { badRequest, type Failure, failure, isFailure, noSuchPath, notFound, throttled, unauthorized } from './status.ts';
import { createStore } from './store.ts';
import { type Answer, type Call, createVerbs, type OpenWatch, type ResourceCall, readBody, type Verb } from './verbs.ts';

/*
 * A double of the Kubernetes API server, for tests and the lab. It speaks the documented protocol over TLS: bearer
 * tokens, RBAC, get, list with pages and selectors, watch, create, update, patch, delete, discovery, access reviews,
 * pods/exec over WebSocket and pods/log, the last two through the network to each node's kubelet.
 *
 * It leaves out: every controller but a small node controller (a hook stands in for the others), admission other than by
 * policies of CONNECT and DELETE (admission.ts), defaults and validation of specs, graceful deletion, finalizers and garbage collection, managed fields and conflicts of server-side
 * apply (an apply merges), strategic merge (it merges like RFC 7386, so lists are replaced), SPDY, attach, port-forward,
 * eviction, scale, protobuf and tables, client certificates, service account tokens, audit, and rate limits other than
 * the switches of faults.ts.
 */

export const Token = z.strictObject({
  token: z.string().min(1),
  user: z.string().min(1),
  groups: z.array(z.string()).default([]),
});
export type Token = z.infer<typeof Token>;

export type ApiServerOptions = {
  /** `ADDRESS:PORT`; port 0 takes a free one. */
  readonly listen: string;
  /** A unix socket that serves the same, TLS included. */
  readonly socket?: string | undefined;
  /** Keeps the certificates, so that a server started again is still trusted; without it they are new. */
  readonly certificateDir?: string | undefined;
  readonly objects: readonly KubeObject[];
  readonly tokens: readonly Token[];
  readonly kubelets: Readonly<Record<string, KubeletAddress>>;
  /** Seconds of silence after which a node is no longer Ready; null watches no node. */
  readonly nodeMonitorSeconds?: number | null;
  /** Called after an object was deleted: where controllers would act. */
  readonly onDelete?: ((object: KubeObject, api: ObjectWriter) => unknown) | undefined;
  /** Called for every request, before it is answered. */
  readonly onRequest?: ((request: { readonly method: string; readonly url: string; readonly user: string }) => void) | undefined;
  readonly historyLimit?: number;
  readonly dialTimeoutMs?: number;
  /** The subprotocols of exec that are spoken; all when absent. */
  readonly execProtocols?: readonly string[];
  readonly now?: () => Date;
};

/** Writes objects as an administrator would, without going over the network. */
export type ObjectWriter = {
  /** Creates the object, or replaces the one of that name. Throws when the server would refuse it. */
  readonly put: (object: KubeObject) => KubeObject;
  readonly remove: (object: KubeObject) => void;
  readonly get: (resource: string, namespace: string, name: string) => KubeObject | undefined;
};

export type ApiServer = ObjectWriter & {
  readonly url: string;
  readonly port: number;
  /** The certificate of the authority, as PEM. */
  readonly ca: string;
  /** A kubeconfig for one of the tokens. */
  readonly kubeconfig: (token: string) => string;
  readonly setFaults: (faults: z.input<typeof Faults>) => void;
  /** Makes every resource version and continue token of before too old. */
  readonly compact: () => void;
  /** How many connections are open, upgraded ones included. */
  readonly connections: () => Promise<number>;
  /** How many exec connections are open. */
  readonly execs: () => number;
  readonly close: () => Promise<void>;
};

const VERSION = { major: '1', minor: '35', gitVersion: 'v1.35.0', platform: 'linux/amd64' } as const;
/** What a real server tells without asking who wants to know. */
const PUBLIC_PATHS: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/livez', '/version']);

/** Starts the double and resolves when it serves. Rejects when it cannot listen or an object of the seed is refused. */
export async function createApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const now = options.now ?? (() => new Date());
  const store = createStore({ now, historyLimit: options.historyLimit ?? 1000 });
  const switches = createSwitches();
  const proxy = createKubeletProxy({ dialTimeoutMs: options.dialTimeoutMs, protocols: options.execProtocols });
  const watches = new Set<OpenWatch>();

  const writer: ObjectWriter = {
    put(object) {
      const type = typeOfObject(object.apiVersion, object.kind);
      if (type === undefined) throw new Error(`no resource for ${object.apiVersion} ${object.kind}`);
      const exists = store.get(type, object.metadata.namespace ?? '', object.metadata.name) !== undefined;
      const written = exists ? store.update(type, object) : store.create(type, object);
      if (isFailure(written)) throw new Error(written.message);
      return written;
    },
    remove(object) {
      const type = typeOfObject(object.apiVersion, object.kind);
      if (type === undefined) throw new Error(`no resource for ${object.apiVersion} ${object.kind}`);
      const removed = removeObject(type, object.metadata.namespace ?? '', object.metadata.name, {});
      if (isFailure(removed)) throw new Error(removed.message);
    },
    get(resource, namespace, name) {
      const type = typeNamed(resource);
      return type === undefined ? undefined : store.get(type, namespace, name);
    },
  };
  for (const object of options.objects) writer.put(object);
  const verbs = createVerbs({
    store,
    watches,
    isWatchDropped: (resource) => switches.get().watchDrop.includes(resource),
    remove: removeObject,
    now,
  });

  function removeObject(type: ResourceType, namespace: string, name: string, body: unknown): KubeObject | Failure {
    const uid = valueAt(body, 'preconditions', 'uid');
    const resourceVersion = valueAt(body, 'preconditions', 'resourceVersion');
    const removed = store.remove(type, namespace, name, {
      uid: typeof uid === 'string' ? uid : undefined,
      resourceVersion: typeof resourceVersion === 'string' ? resourceVersion : undefined,
    });
    if (!isFailure(removed)) options.onDelete?.(removed, writer);
    return removed;
  }

  function authenticate(request: IncomingMessage): User | null {
    const [scheme, secret] = (request.headers.authorization ?? '').split(' ');
    const found = scheme === 'Bearer' ? options.tokens.find(({ token }) => token === secret?.trim()) : undefined;
    if (found === undefined) return null;
    const user = { name: found.user, groups: [...found.groups, 'system:authenticated'] };
    const impersonated = request.headers['impersonate-user'];
    if (typeof impersonated !== 'string' || !user.groups.includes(ADMINS)) return user;
    return { name: impersonated, groups: [...(request.headersDistinct['impersonate-group'] ?? []), 'system:authenticated'] };
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://kubernetes');
    const known = authenticate(request);
    options.onRequest?.({ method: request.method ?? 'GET', url: request.url ?? '/', user: known?.name ?? '' });
    const user = known ?? (PUBLIC_PATHS.has(url.pathname) ? { name: 'system:anonymous', groups: [] } : null);
    if (user === null) return answer(response, unauthorized());
    const call: Call = { request, response, url, user };
    answer(response, (await handleLab(call)) ?? (await handlePlain(call)) ?? (await handleResource(call)));
  }

  /** The switches: for administrators only, at paths that no real server has. */
  async function handleLab({ request, url, user }: Call): Promise<Answer> {
    if (!url.pathname.startsWith('/_lab/')) return null;
    if (!user.groups.includes(ADMINS)) return failure(403, 'Forbidden', `${url.pathname} is for ${ADMINS} only`);
    if (url.pathname === '/_lab/compact' && request.method === 'POST') {
      store.compact();
      return { code: 200, body: {} };
    }
    if (url.pathname !== '/_lab/faults') return noSuchPath();
    if (request.method === 'POST') {
      const body = await readBody(request);
      if (isFailure(body)) return body;
      const faults = Faults.safeParse(body);
      if (!faults.success) return badRequest(z.prettifyError(faults.error));
      setFaults(faults.data);
    }
    return { code: 200, body: switches.get() };
  }

  function setFaults(faults: Faults): void {
    switches.set(faults);
    for (const watch of watches) if (faults.watchDrop.includes(watch.resource)) watch.cut();
  }

  async function handlePlain(call: Call): Promise<Answer> {
    const { pathname } = call.url;
    if (pathname === '/version') return (await strikeRead(call, 'version', 'get')) ?? { code: 200, body: VERSION };
    if (PUBLIC_PATHS.has(pathname)) {
      call.response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
      return { code: 200, body: {} };
    }
    const document = discovery(pathname);
    return document === null ? null : { code: 200, body: document };
  }

  /** Does what a read fault says; null when there is none or it only delayed. A hang never comes back. */
  async function strikeRead({ response }: Call, resource: string, verb: string): Promise<Failure | null> {
    const fault = switches.strikeRead(resource, verb);
    if (fault === undefined) return null;
    const closed = new Promise<void>((resolve) => response.on('close', resolve));
    switch (fault.kind) {
      case 'status': {
        const seconds = fault.retryAfterSeconds;
        if (fault.code === 429) return throttled(seconds ?? 1);
        if (fault.code === 401) return unauthorized();
        const reason = { 403: 'Forbidden', 500: 'InternalError', 503: 'ServiceUnavailable', 504: 'Timeout' }[fault.code];
        const said = {
          403: `${resource} is forbidden`,
          500: 'Internal error occurred: injected',
          503: 'the server is currently unable to handle the request',
          504: 'the server was unable to return a response in the time allotted',
        }[fault.code];
        return failure(fault.code, reason, said, seconds === undefined ? {} : { retryAfterSeconds: seconds });
      }
      case 'html':
        response.writeHead(502, { 'content-type': 'text/html' }).end('<html><h1>502 Bad Gateway</h1></html>');
        return null;
      case 'slow': {
        let timer: NodeJS.Timeout | undefined;
        const slept = new Promise<void>((resolve) => {
          timer = setTimeout(resolve, fault.delayMs);
        });
        await Promise.race([slept, closed]);
        clearTimeout(timer);
        return null;
      }
      case 'hang':
        await closed;
        return null;
      case 'cut':
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100000' });
        response.write('{"kind":"List","items":[', () => response.destroy());
        await closed;
        return null;
    }
  }

  async function handleResource(call: Call): Promise<Answer> {
    const path = parseResourcePath(call.url.pathname);
    if (path === null) return noSuchPath();
    if (path.resource === REVIEW_GROUP.resource && path.group === REVIEW_GROUP.group) return review(call);
    const type = RESOURCES.find(
      (candidate) => candidate.group === path.group && candidate.version === path.version && candidate.resource === path.resource,
    );
    if (type === undefined || (path.namespace !== '' && !type.namespaced)) return noSuchPath();
    const isStream = type.resource === 'pods' && ['exec', 'log'].includes(path.subresource);
    if (path.subresource !== '' && !isStream && !type.subresources.includes(path.subresource)) return noSuchPath();
    const verb = verbOf(call, path);
    if (verb === null)
      return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
    const denied = authorize(call.user, path, verb);
    if (denied !== null) return denied;
    const struck = await strikeRead(call, type.resource, verb);
    if (struck !== null) return struck;
    if (call.response.destroyed || call.response.writableEnded) return null;
    const doomed = verb === 'delete' ? store.get(type, path.namespace, path.name) : undefined;
    const refused = doomed === undefined ? null : await deleteDenial(store, call.user, path, doomed);
    if (refused !== null) return refused;
    const resourceCall: ResourceCall = { ...call, path, type };
    if (path.subresource === 'log') return readLog(resourceCall);
    if (path.subresource === 'exec') return badRequest('Upgrade request required');
    return verbs[verb](resourceCall);
  }

  function authorize(user: User, path: ResourcePath, verb: string): Failure | null {
    const access: Access = {
      ...path,
      verb,
      resource: path.subresource === '' ? path.resource : `${path.resource}/${path.subresource}`,
    };
    return isAllowed(store, user, access) ? null : forbidden(user, access);
  }

  async function review({ request, user }: Call): Promise<Answer> {
    if (request.method !== 'POST')
      return failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
    const body = await readBody(request);
    if (isFailure(body)) return body;
    const attributes = valueAt(body, 'spec', 'resourceAttributes');
    const plural = textAt(attributes, 'resource');
    const subresource = textAt(attributes, 'subresource');
    const allowed = isAllowed(store, user, {
      verb: textAt(attributes, 'verb'),
      group: textAt(attributes, 'group'),
      resource: subresource === '' ? plural : `${plural}/${subresource}`,
      namespace: textAt(attributes, 'namespace'),
      name: textAt(attributes, 'name'),
    });
    return {
      code: 201,
      body: { ...body, kind: 'SelfSubjectAccessReview', apiVersion: 'authorization.k8s.io/v1', status: { allowed } },
    };
  }

  /** What a request to a container needs, checked in the order of a real server. */
  function containerTarget(path: ResourcePath, query: URLSearchParams) {
    const pods = typeNamed('pods');
    const nodes = typeNamed('nodes');
    if (pods === undefined || nodes === undefined) return noSuchPath();
    const pod = store.get(pods, path.namespace, path.name);
    if (pod === undefined) return notFound(pods, path.name);
    const names = listAt(pod, 'spec', 'containers').map((container) => textAt(container, 'name'));
    const container = query.get('container') ?? (names.length === 1 ? (names[0] ?? '') : '');
    if (container === '') {
      return badRequest(`a container name must be specified for pod ${path.name}, choose one of: [${names.join(' ')}]`);
    }
    if (!names.includes(container)) return badRequest(`container ${container} is not valid for pod ${path.name}`);
    const node = textAt(pod, 'spec', 'nodeName');
    if (node === '') return badRequest(`pod ${path.name} does not have a host assigned`);
    const kubelet = options.kubelets[node];
    if (kubelet === undefined) return notFound(nodes, node);
    return { kubelet, node, namespace: path.namespace, pod: path.name, container };
  }

  function readLog({ url, path, response }: ResourceCall): Answer {
    const target = containerTarget(path, url.searchParams);
    if (isFailure(target)) return target;
    proxy.log(target, url.searchParams, response, (problem) => answer(response, problem));
    return null;
  }

  async function upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://kubernetes');
    const user = authenticate(request);
    options.onRequest?.({ method: request.method ?? 'GET', url: request.url ?? '/', user: user?.name ?? '' });
    socket.on('error', () => socket.destroy());
    if (user === null) return refuseUpgrade(socket, unauthorized());
    const path = parseResourcePath(url.pathname);
    if (path === null || path.resource !== 'pods' || path.subresource !== 'exec') return refuseUpgrade(socket, noSuchPath());
    // A WebSocket is a GET; since 1.35 the verb of its effect is asked for as well.
    const denied = authorize(user, path, 'get') ?? authorize(user, path, 'create');
    if (denied !== null) return refuseUpgrade(socket, denied);
    const refused = await connectDenial(store, user, path, url.searchParams);
    if (refused !== null) return refuseUpgrade(socket, refused);
    if (!url.searchParams.has('command')) return refuseUpgrade(socket, badRequest('you must specify at least 1 command'));
    if (!['stdin', 'stdout', 'stderr'].some((stream) => ['true', '1'].includes(url.searchParams.get(stream) ?? ''))) {
      return refuseUpgrade(socket, badRequest('you must specify at least 1 of stdin, stdout, stderr'));
    }
    const target = containerTarget(path, url.searchParams);
    if (isFailure(target)) return refuseUpgrade(socket, target);
    const fault = switches.strikeExec(target.node, target.pod);
    if (fault?.kind === 'forbidden') {
      return refuseUpgrade(socket, forbidden(user, { ...path, verb: 'create', resource: 'pods/exec' }));
    }
    proxy.exec(request, socket, head, target, url.searchParams, fault);
  }

  const separator = options.listen.lastIndexOf(':');
  const host = options.listen.slice(0, separator);
  const names = [
    ...new Set(['127.0.0.1', '::1', '172.26.0.1', 'localhost', 'kubernetes.default.svc', ...(isUnspecified(host) ? [] : [host])]),
  ];
  const certificates =
    options.certificateDir === undefined
      ? createCertificates(names, now())
      : keepCertificates(options.certificateDir, names, now());

  const server = createTlsServer(
    { key: certificates.key, cert: certificates.cert, keepAliveTimeout: 90_000 },
    (request, response) => {
      handle(request, response).catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : new Error(String(error)));
      });
    },
  );
  server.on('upgrade', (request, socket, head) => {
    upgrade(request, socket, head).catch((error: unknown) => {
      socket.destroy(error instanceof Error ? error : new Error(String(error)));
    });
  });
  const local = createNetServer((connection) => server.emit('connection', connection));
  await listen(server, { host, port: Number(options.listen.slice(separator + 1)) });
  if (options.socket !== undefined) await listen(local, { path: options.socket });
  const monitor =
    options.nodeMonitorSeconds === null || options.nodeMonitorSeconds === undefined
      ? null
      : startNodeMonitor({ store, kubelets: options.kubelets, graceSeconds: options.nodeMonitorSeconds, now });

  const { port } = server.address() as AddressInfo;
  const url = `https://${isUnspecified(host) ? '127.0.0.1' : host}:${port}`;
  return {
    ...writer,
    url,
    port,
    ca: certificates.ca,
    kubeconfig: (token) => kubeconfig(url, certificates.ca, token),
    setFaults: (faults) => setFaults(Faults.parse(faults)),
    compact: () => store.compact(),
    connections: () =>
      new Promise((resolve, reject) => server.getConnections((error, count) => (error ? reject(error) : resolve(count)))),
    execs: () => proxy.execs(),
    async close() {
      monitor?.stop();
      proxy.close();
      for (const watch of watches) watch.cut();
      const closed = [server, ...(options.socket === undefined ? [] : [local])].map(closeServer);
      server.closeAllConnections();
      await Promise.all(closed);
    },
  };
}

function verbOf({ request, url }: Call, { name, subresource }: ResourcePath): Verb | null {
  switch (request.method) {
    case 'GET':
      if (name !== '') return 'get';
      return ['true', '1'].includes(url.searchParams.get('watch') ?? '') ? 'watch' : 'list';
    case 'POST':
      return name === '' || subresource === 'exec' ? 'create' : null;
    case 'PUT':
      return name === '' ? null : 'update';
    case 'PATCH':
      return name === '' ? null : 'patch';
    case 'DELETE':
      return name === '' || subresource !== '' ? null : 'delete';
    default:
      return null;
  }
}

function answer(response: ServerResponse, result: Answer): void {
  if (result === null || response.headersSent || response.destroyed) return;
  const [code, body] = isFailure(result) ? [result.code, result] : [result.code, result.body];
  const retry = isFailure(result) ? result.details?.['retryAfterSeconds'] : undefined;
  if (typeof retry === 'number') response.setHeader('retry-after', retry);
  const text = JSON.stringify(body);
  response.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

function kubeconfig(server: string, ca: string, token: string): string {
  return JSON.stringify(
    {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'lab', cluster: { server, 'certificate-authority-data': Buffer.from(ca).toString('base64') } }],
      users: [{ name: 'lab', user: { token } }],
      contexts: [{ name: 'lab', context: { cluster: 'lab', user: 'lab' } }],
      'current-context': 'lab',
    },
    null,
    2,
  );
}

function isUnspecified(host: string): boolean {
  return host === '' || host === '0.0.0.0' || host === '::' || host === '[::]';
}

function listen(server: Server, where: { host: string; port: number } | { path: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}

/** A pod that took the place of another one of its DaemonSet. */
export type Recreated = { readonly namespace: string; readonly name: string; readonly owner: string };

/**
 * A hook for `onDelete` that plays the DaemonSet controller: a pod of a DaemonSet that still exists comes back at once on
 * the same node, with its name and a new uid, running and ready; one whose DaemonSet is among `starting` is not ready yet.
 * Returns the new pod, or null where none was made.
 */
export function recreateDaemonSetPods(object: KubeObject, api: ObjectWriter, starting: readonly string[] = []): Recreated | null {
  const namespace = object.metadata.namespace ?? '';
  const owner = listAt(object, 'metadata', 'ownerReferences').find((reference) => textAt(reference, 'kind') === 'DaemonSet');
  if (object.kind !== 'Pod' || owner === undefined || api.get('daemonsets', namespace, textAt(owner, 'name')) === undefined)
    return null;
  const {
    uid: _uid,
    resourceVersion: _version,
    creationTimestamp: _created,
    deletionTimestamp: _deleted,
    ...metadata
  } = object.metadata;
  const name = textAt(owner, 'name');
  const status = starting.includes(name)
    ? { status: withReadiness(object['status'] ?? {}, false, { waiting: { reason: 'ContainerCreating' } }) }
    : {};
  api.put({ ...object, metadata, ...status });
  return { namespace, name: metadata.name, owner: name };
}
