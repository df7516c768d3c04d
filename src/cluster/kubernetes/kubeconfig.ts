import { X509Certificate } from 'node:crypto';
import { accessSync, constants, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Agent, RequestOptions } from 'node:http';
import { isIPv6 } from 'node:net';
import { delimiter, dirname, join, resolve } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node';
import { type Document, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { nearNames } from '../../model/near-names.ts';
import { messageOf } from '../../model/text.ts';
import type { ClusterFault, ClusterResult } from '../port.ts';
import { said } from './faults.ts';

/*
 * Why not simply the client library: importing @kubernetes/client-node costs 0.5 s or more, a third of a healthy
 * diagnosis, nearly all of it for generated models that are not used here; and its REST calls make a new connection,
 * which stays open, for each request. So the plain kinds of login (tokens, certificates, passwords, a service account)
 * are read here, and the library is loaded for the others, which are worth its weight: exec plugins, auth providers
 * and proxies.
 */

const Text = z.string().min(1);
const Cluster = z.object({
  server: z.url({ protocol: /^https?$/, error: 'write an https:// address' }),
  'certificate-authority': Text.nullish(),
  'certificate-authority-data': Text.nullish(),
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': Text.nullish(),
  'proxy-url': Text.nullish(),
});
const User = z.object({
  token: Text.nullish(),
  tokenFile: Text.nullish(),
  'client-certificate': Text.nullish(),
  'client-certificate-data': Text.nullish(),
  'client-key': Text.nullish(),
  'client-key-data': Text.nullish(),
  username: Text.nullish(),
  password: z.string().nullish(),
  exec: z.unknown().optional(),
  'auth-provider': z.unknown().optional(),
  as: Text.nullish(),
  'as-uid': Text.nullish(),
  'as-groups': z.array(Text).nullish(),
});
const Context = z.object({ cluster: Text, user: Text.nullish() });

/** A kubeconfig file, as far as it is used. */
const Kubeconfig = z.object({
  clusters: z.array(z.object({ name: Text, cluster: Cluster })).nullish(),
  users: z.array(z.object({ name: Text, user: User.nullish() })).nullish(),
  contexts: z.array(z.object({ name: Text, context: Context })).nullish(),
  'current-context': z.string().nullish(),
});
type Kubeconfig = z.infer<typeof Kubeconfig>;

/** What each request to the API server is made with; `proxy` connects through the proxy of the kubeconfig. */
type RequestLogin = SecureContextOptions & {
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
  readonly headers: Headers;
  readonly proxy?: Agent;
};

type Headers = Readonly<Record<string, string | string[]>>;
/** The part of a login that does not change from request to request. */
type Tls = Omit<RequestLogin, 'headers' | 'proxy'>;

/** How to reach and enter a cluster. `authorize` may run an exec plugin; it returns a fault when that fails. */
export type Login = {
  readonly cluster: string;
  readonly server: URL;
  readonly authorize: () => Promise<ClusterResult<RequestLogin>>;
};

type LoginOptions = {
  /** The kubeconfig file; undefined for what kubectl would use: $KUBECONFIG, ~/.kube/config, the service account. */
  readonly kubeconfig: string | undefined;
  /** Another context than the current one. */
  readonly context: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a pod finds its service account. */
  readonly serviceAccountDir: string;
};

/** Reads how to enter a cluster. Every mistake in a kubeconfig is an `invalid` fault that says where it is. */
export function loadLogin(options: LoginOptions): ClusterResult<Login> {
  const files = kubeconfigFiles(options);
  if (files === null) return inClusterLogin(options);
  const loaded: Loaded[] = [];
  for (const file of files) {
    const one = readKubeconfig(file);
    if (!one.ok) return one;
    loaded.push(one.value);
  }
  const selected = select(loaded, options.context);
  return selected.ok ? loginOf(selected.value) : selected;
}

type Loaded = { readonly file: string; readonly config: Kubeconfig };

/** A cluster and a user with the files that they come from: paths in them are relative to those. */
type Selected = {
  readonly context: string;
  readonly cluster: { readonly name: string; readonly file: string; readonly value: z.infer<typeof Cluster> };
  readonly user: { readonly name: string; readonly file: string; readonly value: z.infer<typeof User> };
};

function kubeconfigFiles({ kubeconfig, env, serviceAccountDir }: LoginOptions): readonly string[] | null {
  if (kubeconfig !== undefined) return [kubeconfig];
  const listed = (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
  if (listed.length > 0) return listed;
  const own = join(env['HOME'] ?? '/', '.kube', 'config');
  const isInCluster = env['KUBERNETES_SERVICE_HOST'] !== undefined && isReadable(join(serviceAccountDir, 'token'));
  return isReadable(own) || !isInCluster ? [own] : null;
}

function readKubeconfig(file: string): ClusterResult<Loaded> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return invalid(`${file}: ${readProblem(error)}; name another kubeconfig with --kubeconfig, or set KUBECONFIG`);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = document.errors[0];
  if (broken !== undefined) return invalid(`${file}:${lines.linePos(broken.pos[0]).line}: not YAML: ${said(broken.message)}`);
  const config = Kubeconfig.safeParse(document.toJS() ?? {});
  if (config.success) return { ok: true, value: { file, config: config.data } };
  const issue = config.error.issues[0];
  const path = (issue?.path ?? []) as readonly (string | number)[];
  return invalid(
    `${file}:${lineOf(document, lines, path)}: ${z.core.toDotPath(path) || 'the file'}: ${issue?.message ?? 'unreadable'}`,
  );
}

/** The line of a value, or of the nearest thing around it where the value is missing. */
function lineOf(document: Document, lines: LineCounter, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length -= 1) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) {
      return lines.linePos(Number(node.range[0])).line;
    }
  }
  return 1;
}

/** Merges as kubectl does: the first file that has a name, or a current context, wins. */
function select(loaded: readonly Loaded[], wanted: string | undefined): ClusterResult<Selected> {
  const files = loaded.map(({ file }) => file).join(', ');
  const context = wanted ?? loaded.find(({ config }) => config['current-context'])?.config['current-context'];
  const contexts = loaded.flatMap(({ config }) => config.contexts ?? []);
  const known = contexts.map(({ name }) => name);
  if (context === undefined || context === null) {
    return invalid(`${files}: no current-context; choose one with --context (${listed(known)})`);
  }
  const found = contexts.find(({ name }) => name === context);
  if (found === undefined) {
    const [near] = nearNames(context, known);
    return invalid(
      `${files}: no context named '${context}'${near === undefined ? '' : `, did you mean '${near}'?`} (${listed(known)})`,
    );
  }
  const clusters = loaded.flatMap(({ file, config }) => (config.clusters ?? []).map((entry) => ({ file, ...entry })));
  const cluster = clusters.find(({ name }) => name === found.context.cluster);
  if (cluster === undefined) {
    const names = clusters.map(({ name }) => name);
    return invalid(
      `${files}: context '${context}' names the cluster '${found.context.cluster}', which is not there (${listed(names)})`,
    );
  }
  const users = loaded.flatMap(({ file, config }) => (config.users ?? []).map((entry) => ({ file, ...entry })));
  const user = users.find(({ name }) => name === found.context.user);
  if (user === undefined) {
    const names = users.map(({ name }) => name);
    return invalid(
      `${files}: context '${context}' names the user '${found.context.user ?? ''}', which is not there (${listed(names)})`,
    );
  }
  return {
    ok: true,
    value: {
      context,
      cluster: { name: cluster.name, file: cluster.file, value: cluster.cluster },
      user: { name: user.name, file: user.file, value: user.user ?? {} },
    },
  };
}

function loginOf(selected: Selected): ClusterResult<Login> {
  const { cluster, user } = selected;
  const where = { cluster: `${cluster.file}: cluster '${cluster.name}'`, user: `${user.file}: user '${user.name}'` };
  const ca = material(cluster.file, cluster.value['certificate-authority-data'], cluster.value['certificate-authority']);
  const cert = material(user.file, user.value['client-certificate-data'], user.value['client-certificate']);
  const key = material(user.file, user.value['client-key-data'], user.value['client-key']);
  if (!ca.ok) return invalid(`${where.cluster}: certificate-authority: ${ca.problem}`);
  if (!cert.ok) return invalid(`${where.user}: client-certificate: ${cert.problem}`);
  if (!key.ok) return invalid(`${where.user}: client-key: ${key.problem}`);
  const caProblem = ca.value === null ? null : authorityProblem(ca.value);
  if (caProblem !== null) return invalid(`${where.cluster}: certificate-authority is not a PEM certificate: ${caProblem}`);
  const problem = pairProblem({ ...(cert.value && { cert: cert.value }), ...(key.value && { key: key.value }) });
  if (problem !== null) return invalid(`${where.user}: client-certificate and client-key do not work together: ${problem}`);

  const server = new URL(cluster.value.server);
  const tls = {
    ...(ca.value && { ca: ca.value }),
    ...(cert.value && { cert: cert.value }),
    ...(key.value && { key: key.value }),
    ...(cluster.value['tls-server-name'] && { servername: cluster.value['tls-server-name'] }),
    ...(cluster.value['insecure-skip-tls-verify'] && { rejectUnauthorized: false }),
  };
  const impersonation = impersonate(user.value);
  const needsLibrary = user.value.exec || user.value['auth-provider'] || cluster.value['proxy-url'];
  if (needsLibrary) return { ok: true, value: libraryLogin(selected, server, tls, impersonation) };
  return {
    ok: true,
    value: plainLogin(cluster.name, server, tls, async () => {
      const authorization = await plainAuthorization(user.file, user.value);
      if (!authorization.ok) return invalid(`${where.user}: tokenFile: ${authorization.problem}`);
      return { ok: true, value: { ...impersonation, ...(authorization.value && { authorization: authorization.value }) } };
    }),
  };
}

function inClusterLogin({ env, serviceAccountDir }: LoginOptions): ClusterResult<Login> {
  const host = env['KUBERNETES_SERVICE_HOST'] ?? '';
  const server = new URL(`https://${isIPv6(host) ? `[${host}]` : host}:${env['KUBERNETES_SERVICE_PORT'] ?? '443'}`);
  const ca = material('/', null, join(serviceAccountDir, 'ca.crt'));
  if (!ca.ok) return invalid(`service account: ${ca.problem}`);
  const problem = ca.value === null ? null : authorityProblem(ca.value);
  if (problem !== null)
    return invalid(`service account: ${join(serviceAccountDir, 'ca.crt')} is not a PEM certificate: ${problem}`);
  return {
    ok: true,
    value: plainLogin('in-cluster', server, ca.value === null ? {} : { ca: ca.value }, async () => {
      // Read each time: the kubelet replaces the token while we run.
      const token = await readText(join(serviceAccountDir, 'token'));
      return token.ok
        ? { ok: true, value: { authorization: `Bearer ${token.value}` } }
        : invalid(`service account: ${token.problem}`);
    }),
  };
}

function plainLogin(cluster: string, server: URL, tls: Tls, headers: () => Promise<ClusterResult<Headers>>): Login {
  return {
    cluster,
    server,
    async authorize() {
      const result = await headers();
      return result.ok ? { ok: true, value: { ...tls, headers: result.value } } : result;
    },
  };
}

/** A login that the client library makes: it runs the plugin, renews what expires and goes through the proxy. */
function libraryLogin(selected: Selected, server: URL, tls: Tls, impersonation: Headers): Login {
  const { cluster, user } = selected;
  let config: Promise<KubeConfig> | null = null;

  async function load(): Promise<KubeConfig> {
    const library = await import('@kubernetes/client-node');
    const made = new library.KubeConfig();
    const inline = (text: unknown) => (text instanceof Buffer ? text.toString('base64') : undefined);
    const credentials = {
      'client-certificate': undefined,
      'client-certificate-data': inline(tls.cert),
      'client-key': undefined,
      'client-key-data': inline(tls.key),
    };
    const authority = { 'certificate-authority': undefined, 'certificate-authority-data': inline(tls.ca) };
    made.loadFromString(
      JSON.stringify({
        clusters: [{ name: cluster.name, cluster: { ...cluster.value, ...authority } }],
        users: [{ name: user.name, user: { ...absolute(user.value, dirname(resolve(user.file))), ...credentials } }],
        contexts: [{ name: selected.context, context: { cluster: cluster.name, user: user.name } }],
        'current-context': selected.context,
      }),
    );
    return made;
  }

  return {
    cluster: cluster.name,
    server,
    async authorize() {
      config ??= load();
      try {
        const options: RequestOptions & SecureContextOptions = {};
        await (await config).applyToHTTPSOptions(options);
        const { headers, auth, cert, key } = options;
        const basic = typeof auth === 'string' ? { authorization: `Basic ${Buffer.from(auth).toString('base64')}` } : {};
        return {
          ok: true,
          value: {
            ...tls,
            ...(cert && { cert }),
            ...(key && { key }),
            headers: { ...(headers as Headers | undefined), ...basic, ...impersonation },
            ...(cluster.value['proxy-url'] && options.agent ? { proxy: options.agent as Agent } : {}),
          },
        };
      } catch (error) {
        const reason = said(messageOf(error)) || 'it failed without a message';
        return {
          ok: false,
          fault: { kind: 'unauthorized', message: `${user.file}: user '${user.name}': no credentials: ${reason}` },
        };
      }
    },
  };
}

function impersonate(user: z.infer<typeof User>): Headers {
  return {
    ...(user.as && { 'impersonate-user': user.as }),
    ...(user['as-uid'] && { 'impersonate-uid': user['as-uid'] }),
    ...(user['as-groups'] && { 'impersonate-group': user['as-groups'] }),
  };
}

type Read<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly problem: string };

async function plainAuthorization(file: string, user: z.infer<typeof User>): Promise<Read<string | null>> {
  // As client-go has it: a token file wins over a token, and it may be replaced while we run.
  if (user.tokenFile) {
    const token = await readText(resolve(dirname(file), user.tokenFile));
    return token.ok ? { ok: true, value: `Bearer ${token.value}` } : token;
  }
  if (user.token) return { ok: true, value: `Bearer ${user.token}` };
  if (!user.username) return { ok: true, value: null };
  return { ok: true, value: `Basic ${Buffer.from(`${user.username}:${user.password ?? ''}`).toString('base64')}` };
}

async function readText(path: string): Promise<Read<string>> {
  try {
    const text = (await readFile(path, 'utf8')).trim();
    return text === '' ? { ok: false, problem: `${path} is empty` } : { ok: true, value: text };
  } catch (error) {
    return { ok: false, problem: `${path}: ${readProblem(error)}` };
  }
}

/** A certificate or key: inline as base64, which wins, or in a file beside the kubeconfig. */
function material(file: string, data: string | null | undefined, path: string | null | undefined): Read<Buffer | null> {
  if (data) return { ok: true, value: Buffer.from(data, 'base64') };
  if (!path) return { ok: true, value: null };
  const full = resolve(dirname(file), path);
  try {
    return { ok: true, value: readFileSync(full) };
  } catch (error) {
    return { ok: false, problem: `${full}: ${readProblem(error)}` };
  }
}

/** Why a certificate authority cannot be used, or null. A TLS context alone takes garbage without a word. */
function authorityProblem(ca: Buffer): string | null {
  return problemOf(() => new X509Certificate(ca));
}

/** Why a client certificate and a key cannot be used, or null. */
function pairProblem(pair: SecureContextOptions): string | null {
  return problemOf(() => createSecureContext(pair));
}

function problemOf(use: () => unknown): string | null {
  try {
    use();
    return null;
  } catch (error) {
    return said(messageOf(error));
  }
}

function absolute(user: z.infer<typeof User>, directory: string): object {
  const exec = user.exec as { command?: string } | null | undefined;
  // As kubectl has it: a command with a slash is relative to the kubeconfig's directory.
  const isRelative = typeof exec?.command === 'string' && exec.command.includes('/');
  return isRelative ? { ...user, exec: { ...exec, command: resolve(directory, exec.command ?? '') } } : user;
}

function readProblem(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT') return 'no such file';
  if (code === 'EACCES') return 'permission denied';
  return code === 'EISDIR' ? 'a directory, not a file' : said(String(error));
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? 'there is none' : `there is: ${[...new Set(names)].join(', ')}`;
}

function invalid(message: string): { readonly ok: false; readonly fault: ClusterFault } {
  return { ok: false, fault: { kind: 'invalid', message } };
}
