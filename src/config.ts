import { createPrivateKey, createPublicKey } from 'node:crypto';
import { isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml';
import { z } from 'zod';
import { Access, accessProblems, ChannelId, ClusterName } from './access.ts';
import { nearNames } from './model/near-names.ts';
import { fail, ok, type Result } from './model/result.ts';

const Milliseconds = z.int().min(1).max(86_400_000);

/** A cluster that netcheck serves. */
export const ClusterConfig = z.strictObject({
  kubeconfig: z
    .string()
    .optional()
    .describe(
      'Path of the kubeconfig that the worker uses; a relative one starts at the folder of netcheck.yaml. Left out: $KUBECONFIG, ~/.kube/config or the ServiceAccount of its pod, whichever is there first.',
    ),
  context: z.string().optional().describe("Context in that kubeconfig. Left out: the kubeconfig's current one."),
  channels: z
    .array(ChannelId)
    .min(1)
    .optional()
    .describe(
      'Channels in which this cluster is asked about. In a channel of several clusters commands end with "on CLUSTER". Left out, which is allowed for a single cluster only: every channel that netcheck is in.',
    ),
  agentNamespace: z.string().default('netcheck-agents').describe('Namespace in which the agents run, and nothing else.'),
});
export type ClusterConfig = z.infer<typeof ClusterConfig>;

/** netcheck.yaml. Secrets are not in it: they come from the environment, see `Secrets`. */
export const FileConfig = z.strictObject({
  slack: z
    .strictObject({
      mode: z
        .enum(['http', 'socket'])
        .default('http')
        .describe(
          'How commands and clicks come: over HTTP to the bot, or over connections that the bot opens (Socket Mode), which needs no way in from the Internet.',
        ),
      port: z
        .int()
        .min(0)
        .max(65_535)
        .default(3000)
        .describe('TCP port on which the bot takes requests from Slack, at /slack/events. Not used in Socket Mode.'),
      apiUrl: z
        .url({ protocol: /^https?$/ })
        .default('https://slack.com/api/')
        .describe("Where Slack's Web API is. Changed for gateways and tests only."),
      externallySharedChannels: z
        .array(ChannelId)
        .default([])
        .describe('Channels shared with other organisations in which netcheck answers all the same. All others are refused.'),
    })
    .prefault({})
    .describe('How the bot talks to Slack.'),
  redis: z
    .strictObject({
      url: z
        .url({ protocol: /^rediss?$/ })
        .default('redis://127.0.0.1:6379')
        .describe('Where Redis is: redis:// or, with TLS, rediss://. A password belongs in NETCHECK_REDIS_PASSWORD.'),
    })
    .prefault({})
    .describe(
      'The queue and the memory. Redis has to run with appendonly yes, appendfsync always and maxmemory-policy noeviction.',
    ),
  clusters: z.record(ClusterName, ClusterConfig).describe('The clusters, by name.'),
  access: Access.prefault({}).describe(
    'Who may do what. Guests, bots, deactivated users and users of other organisations may do nothing.',
  ),
  limits: z
    .strictObject({
      runsPerUser: z.int().min(1).default(3).describe('Unfinished runs that one person may have at once, per cluster.'),
      runsPerCluster: z.int().min(1).default(20).describe('Unfinished runs that a cluster may have at once.'),
      digestsPerChannel: z.int().min(0).default(5).describe('Digests that a channel may have of one cluster.'),
    })
    .prefault({})
    .describe('Bursts queue up to here; what is above is refused, with the reason.'),
  timeouts: z
    .strictObject({
      acceptMs: Milliseconds.max(2_500)
        .default(2_000)
        .describe('A command that cannot be stored within this time is not accepted.'),
      runMs: Milliseconds.default(120_000).describe('A diagnosis is stopped after this time.'),
      queuedMs: Milliseconds.default(600_000).describe('A run that no worker took up within this time fails.'),
      approveMs: Milliseconds.default(900_000).describe('A request for a remedy expires after this time.'),
      startMs: Milliseconds.default(120_000).describe('An approval expires when no worker started the remedy within this time.'),
      remedyMs: Milliseconds.default(120_000).describe(
        'A remedy that did not report back within this time has an unknown outcome.',
      ),
    })
    .prefault({})
    .describe('Time limits, in milliseconds.'),
  ops: z
    .strictObject({
      port: z
        .int()
        .min(0)
        .max(65_535)
        .optional()
        .describe(
          'TCP port for /healthz, /readyz and /metrics; --ops-port of the command line goes before it. Left out: they are not served.',
        ),
      host: z
        .string()
        .default('127.0.0.1')
        .describe('Address on which they are served; 0.0.0.0 for every one. They tell names of clusters and codes of findings.'),
    })
    .prefault({})
    .describe('What the people who run netcheck look at, of bots and workers alike.'),
  remedies: z
    .strictObject({
      enabled: z.boolean().default(false).describe('Whether netcheck offers and runs remedies. Off: it only diagnoses.'),
      publicKeyFile: z
        .string()
        .optional()
        .describe(
          'File with the public half, as PEM, of the key in NETCHECK_APPROVAL_KEY: the worker acts only on approvals that it verifies with it.',
        ),
      auditFile: z
        .string()
        .optional()
        .describe(
          'The file to which the worker writes the audit before it acts, on a volume of its own. With several clusters its name has to contain {cluster}, as each has an audit of its own.',
        ),
      events: z
        .boolean()
        .default(false)
        .describe(
          'Whether an Event is written on the node when a remedy has ended, for `kubectl describe node`. One that cannot be written is logged, and stops nothing.',
        ),
    })
    .prefault({})
    .describe('What netcheck may change, and what it needs for that.'),
});
export type FileConfig = z.infer<typeof FileConfig>;

/** What comes from the environment, and for whom it is required. */
export const ENVIRONMENT = {
  NETCHECK_SLACK_SIGNING_SECRET: {
    for: 'bot over HTTP',
    about: 'the signing secret of the Slack app (Basic Information → App Credentials)',
  },
  NETCHECK_SLACK_BOT_TOKEN: { for: 'bot', about: 'the bot token of the Slack app, xoxb-… (OAuth & Permissions)' },
  NETCHECK_SLACK_APP_TOKEN: {
    for: 'bot in Socket Mode',
    about: 'the app-level token of the Slack app with the scope connections:write, xapp-… (Basic Information)',
  },
  NETCHECK_APPROVAL_KEY: {
    for: 'bot with remedies',
    about: 'the Ed25519 private key that approvals are signed with, as PEM or base64 of a PEM',
  },
  NETCHECK_REDIS_PASSWORD: { for: 'optional', about: "the password of netcheck's Redis user" },
  LOG_LEVEL: { for: 'optional', about: 'how much is logged: trace, debug, info (without it), warn, error, fatal or silent' },
} as const;

/** What a process is started as. */
export type Role = 'bot' | 'worker' | 'all';

/** The configuration that a process runs with. `slack` is null for a worker: it has no Slack secrets. */
export type Config = Omit<FileConfig, 'slack' | 'redis'> & {
  readonly slack:
    | (FileConfig['slack'] & { readonly signingSecret: string; readonly appToken: string; readonly botToken: string })
    | null;
  readonly redis: { readonly url: string };
  /** PEM, for the bot when remedies are on. */
  readonly approvalKey: string | null;
};

/** What is wrong with a configuration: where (1-based, null for the environment), what, and what to write instead. */
export type ConfigProblem = {
  readonly at: { readonly line: number; readonly column: number } | null;
  readonly path: string;
  readonly message: string;
};

/**
 * Reads netcheck.yaml's text together with the environment, for a process of the given role. Returns every problem at
 * once, in the order in which they stand in the file.
 */
export function readConfig(
  text: string,
  environment: Readonly<Record<string, string | undefined>>,
  role: Role,
): Result<Config, ConfigProblem[]> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    return fail(
      document.errors.map((error) => ({
        at: positionOf(lines, error.pos[0]),
        path: '',
        message: `is not YAML: ${error.message}`,
      })),
    );
  }
  const read = FileConfig.safeParse(document.toJS() ?? {});
  const problems = read.success ? [] : read.error.issues.flatMap((issue) => explain(issue, document.contents, lines));
  if (read.success) problems.push(...contradictions(read.data, role, document.contents, lines));
  problems.push(...missingSecrets(environment, role, read.success ? read.data : null));
  problems.sort((a, b) => (a.at?.line ?? Infinity) - (b.at?.line ?? Infinity) || (a.at?.column ?? 0) - (b.at?.column ?? 0));
  if (!read.success || problems.length > 0) return fail(problems);
  const { slack, redis, ...rest } = read.data;
  return ok({
    ...rest,
    slack:
      role === 'worker'
        ? null
        : {
            ...slack,
            signingSecret: environment['NETCHECK_SLACK_SIGNING_SECRET'] ?? '',
            appToken: environment['NETCHECK_SLACK_APP_TOKEN'] ?? '',
            botToken: environment['NETCHECK_SLACK_BOT_TOKEN'] ?? '',
          },
    redis: { url: withPassword(redis.url, environment['NETCHECK_REDIS_PASSWORD']) },
    approvalKey: role !== 'worker' && rest.remedies.enabled ? pemOf(environment['NETCHECK_APPROVAL_KEY'] ?? '') : null,
  });
}

/** The problems as lines for a terminal: `netcheck.yaml:4:3: slack.prot is not known; did you mean "port"?` */
export function formatConfigProblems(file: string, problems: readonly ConfigProblem[]): string {
  return problems
    .map(({ at, path, message }) => {
      const where = at === null ? 'environment' : `${file}:${at.line}:${at.column}`;
      return `${where}: ${path === '' ? '' : `${path} `}${message}`;
    })
    .join('\n');
}

function contradictions(config: FileConfig, role: Role, root: Node | null, lines: LineCounter): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const add = (path: readonly PropertyKey[], message: string): void => {
    problems.push({ at: locate(path, root, lines), path: path.map(String).join('.'), message });
  };
  const clusters = Object.entries(config.clusters);
  if (clusters.length === 0)
    add(['clusters'], 'is empty: name at least one cluster, such as "clusters: {prod: {channels: [C0123456789]}}"');
  for (const [name, cluster] of clusters) {
    if (cluster.channels === undefined && clusters.length > 1) {
      add(
        ['clusters', name],
        'needs "channels", because there is more than one cluster: list the ids of the channels that ask about it',
      );
    }
  }
  if (config.remedies.enabled && role !== 'bot') {
    if (config.remedies.publicKeyFile === undefined) {
      add(['remedies'], 'are enabled, but "publicKeyFile" is missing: without it no approval can be verified');
    }
    if (config.remedies.auditFile === undefined) {
      add(['remedies'], 'are enabled, but "auditFile" is missing: what cannot be audited does not happen');
    } else if (clusters.length > 1 && !config.remedies.auditFile.includes('{cluster}')) {
      add(
        ['remedies', 'auditFile'],
        'needs "{cluster}" in its name, because there is more than one cluster and each has an audit of its own',
      );
    }
  }
  for (const { path, message } of accessProblems(config.access, Object.keys(config.clusters))) add(['access', ...path], message);
  const url = new URL(config.redis.url);
  if (url.password !== '') add(['redis', 'url'], 'contains a password: put it into NETCHECK_REDIS_PASSWORD');
  return problems;
}

/** What a process needs from the environment. Without a configuration that can be read, only what every bot needs. */
function missingSecrets(
  environment: Readonly<Record<string, string | undefined>>,
  role: Role,
  config: FileConfig | null,
): ConfigProblem[] {
  if (role === 'worker') return [];
  const problems: ConfigProblem[] = [];
  const mode = config?.slack.mode ?? 'http';
  const isNeeded = {
    bot: true,
    'bot over HTTP': mode === 'http',
    'bot in Socket Mode': mode === 'socket',
    'bot with remedies': config?.remedies.enabled === true,
    optional: false,
  } as const;
  for (const [name, { for: needed, about }] of Object.entries(ENVIRONMENT)) {
    if (!isNeeded[needed]) continue;
    const value = environment[name] ?? '';
    if (value === '') problems.push({ at: null, path: name, message: `is not set: it has to hold ${about}` });
    else if (name === 'NETCHECK_SLACK_BOT_TOKEN' && !value.startsWith('xox')) {
      problems.push({ at: null, path: name, message: 'is no Slack token: it has to begin with "xoxb-"' });
    } else if (name === 'NETCHECK_SLACK_APP_TOKEN' && !value.startsWith('xapp-')) {
      problems.push({ at: null, path: name, message: 'is no app-level token: it has to begin with "xapp-"' });
    } else if (name === 'NETCHECK_APPROVAL_KEY' && !isEd25519(value, 'private')) {
      problems.push({
        at: null,
        path: name,
        message: 'is no Ed25519 private key: make one with "openssl genpkey -algorithm ed25519"',
      });
    }
  }
  return problems;
}

/** Whether a text is an Ed25519 key, as PEM or base64 of a PEM. */
export function isEd25519(text: string, half: 'private' | 'public'): boolean {
  try {
    const key = half === 'private' ? createPrivateKey(pemOf(text)) : createPublicKey(pemOf(text));
    return key.asymmetricKeyType === 'ed25519';
  } catch {
    return false;
  }
}

/** A key as PEM, which may have been given as base64 of it. */
export function pemOf(text: string): string {
  return text.includes('-----BEGIN') ? text : Buffer.from(text, 'base64').toString('utf8');
}

function withPassword(url: string, password: string | undefined): string {
  if (password === undefined || password === '') return url;
  const complete = new URL(url);
  complete.password = encodeURIComponent(password);
  return complete.href;
}

type Issue = z.core.$ZodIssue;

/** One problem for each thing to change: an issue can name several unknown keys, a union several ways out. */
function explain(issue: Issue, root: Node | null, lines: LineCounter): ConfigProblem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const known = keysAt(issue.path);
      const [near] = nearNames(key, known, 1);
      return {
        at: locate([...issue.path, key], root, lines, true),
        path: [...issue.path, key].map(String).join('.'),
        message: `is not known${near === undefined ? `; known here: ${known.join(', ')}` : `; did you mean "${near}"?`}`,
      };
    });
  }
  if (issue.code === 'invalid_union') {
    const deepest = issue.errors.flat().filter((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys');
    if (deepest.length > 0)
      return deepest.flatMap((inner) => explain({ ...inner, path: [...issue.path, ...inner.path] }, root, lines));
  }
  if (issue.code === 'invalid_key') {
    const key = issue.path.at(-1);
    return [
      {
        at: locate(issue.path, root, lines, true),
        path: issue.path.map(String).join('.'),
        message: `is no name for a cluster: "${String(key)}" ${issue.issues[0]?.message ?? ''}`,
      },
    ];
  }
  return [{ at: locate(issue.path, root, lines), path: issue.path.map(String).join('.'), message: sentence(issue, root) }];
}

function sentence(issue: Issue, root: Node | null): string {
  const found = describe(valueAt(issue.path, root));
  switch (issue.code) {
    case 'invalid_type':
      return found === 'nothing' ? `is missing: ${expectation(issue.expected)}` : `${expectation(issue.expected)}, not ${found}`;
    case 'invalid_union':
      return `has to be "members" or {users: [...], groups: [...]}, not ${found}`;
    case 'invalid_value':
      return `has to be ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}, not ${found}`;
    case 'too_small':
      return issue.origin === 'array'
        ? `needs at least ${issue.minimum} item`
        : `has to be at least ${issue.minimum}, not ${found}`;
    case 'too_big':
      return `has to be at most ${issue.maximum}, not ${found}`;
    case 'invalid_format':
      return issue.format === 'url' ? `has to be a URL, not ${found}` : `${issue.message}, not ${found}`;
    default:
      return `${issue.message}, not ${found}`;
  }
}

function expectation(expected: string): string {
  const words: Record<string, string> = {
    object: 'a mapping (key: value)',
    record: 'a mapping (key: value)',
    array: 'a list',
    string: 'text',
    number: 'a whole number',
    boolean: 'true or false',
  };
  return `has to be ${words[expected] ?? expected}`;
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value === 'string') return `the text ${JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)}`;
  return JSON.stringify(value);
}

/** The keys that the schema knows at a path; a path into a record goes on with the record's values. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = FileConfig;
  for (const key of path) schema = childOf(unwrapped(schema), String(key));
  const target = unwrapped(schema);
  return target instanceof z.ZodObject ? Object.keys(target.shape) : [];
}

function childOf(schema: unknown, key: string): unknown {
  if (schema instanceof z.ZodObject) return schema.shape[key];
  if (schema instanceof z.ZodRecord) return schema.valueType;
  if (schema instanceof z.ZodArray) return schema.element;
  return undefined;
}

function unwrapped(schema: unknown): unknown {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault)
    return unwrapped(schema.unwrap());
  if (schema instanceof z.ZodUnion) return schema.options.map(unwrapped).find((option) => option instanceof z.ZodObject);
  return schema;
}

function valueAt(path: readonly PropertyKey[], root: Node | null): unknown {
  const node = nodeAt(path, root);
  return node === undefined ? undefined : (node?.toJSON() ?? null);
}

function nodeAt(path: readonly PropertyKey[], root: Node | null): Node | null | undefined {
  let node: unknown = root;
  for (const key of path) {
    if (node === null || typeof node !== 'object' || !('get' in node) || typeof node.get !== 'function') return undefined;
    node = node.get(typeof key === 'number' ? key : String(key), true);
  }
  return node === undefined ? undefined : (node as Node | null);
}

/** Where a path stands in the file, or the nearest part of it that is there. With `onKey`, where its key stands. */
function locate(path: readonly PropertyKey[], root: Node | null, lines: LineCounter, onKey = false): ConfigProblem['at'] {
  for (let length = path.length; length >= 0; length -= 1) {
    const parent = length === 0 ? undefined : nodeAt(path.slice(0, length - 1), root);
    if (parent !== undefined && isMap(parent) && (onKey || length < path.length)) {
      const pair = parent.items.find((item) => isScalar(item.key) && String(item.key.value) === String(path[length - 1]));
      if (pair !== undefined && isScalar(pair.key) && pair.key.range) return positionOf(lines, pair.key.range[0]);
    }
    const node = nodeAt(path.slice(0, length), root);
    if (node?.range) return positionOf(lines, node.range[0]);
  }
  return { line: 1, column: 1 };
}

function positionOf(lines: LineCounter, offset: number): { readonly line: number; readonly column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}
