/**
 * Where everything lies in Redis. What a worker of a cluster may touch begins with `nc:<cluster>:`; what is the bot's
 * alone (replay protection, the outbox) with `nc-bot:`, so that one ACL user per cluster can be confined to its prefix.
 */
export function clusterKeys(cluster: string) {
  const prefix = `nc:${cluster}`;
  return {
    prefix,
    run: (id: string) => `${prefix}:run:${id}`,
    verdict: (id: string) => `${prefix}:verdict:${id}`,
    proposals: (id: string) => `${prefix}:proposals:${id}`,
    bundle: (id: string) => `${prefix}:bundle:${id}`,
    progress: (id: string) => `${prefix}:progress:${id}`,
    active: `${prefix}:active`,
    activeOf: (user: string) => `${prefix}:active:${user}`,
    untold: `${prefix}:untold`,
    recent: `${prefix}:recent`,
    same: (fingerprint: string) => `${prefix}:same:${fingerprint}`,
    events: `${prefix}:events`,
    cancels: `${prefix}:cancels`,
    workers: `${prefix}:workers`,
    remediationWorkers: `${prefix}:remediation-workers`,
    nodes: `${prefix}:nodes`,
    action: (id: string) => `${prefix}:action:${id}`,
    actionProgress: (id: string) => `${prefix}:action-progress:${id}`,
    openActions: `${prefix}:actions`,
    openActionFor: (fingerprint: string) => `${prefix}:action-for:${fingerprint}`,
    untoldActions: `${prefix}:actions-untold`,
    audit: `${prefix}:audit`,
    auditHead: `${prefix}:audit-head`,
  } as const;
}

/** The bot's own keys. `ref` is `CLUSTER/RUN`. Digests and the history are the bot's: no worker reads or writes them. */
export const botKeys = {
  replay: (signature: string) => `nc-bot:seen:${signature}`,
  outbox: (ref: string) => `nc-bot:outbox:${ref}`,
  outboxOrder: (ref: string) => `nc-bot:outbox-order:${ref}`,
  outboxDue: 'nc-bot:outbox-due',
  outboxLease: 'nc-bot:outbox-lease',
  outboxWake: 'nc-bot:outbox-wake',
  /** The prefix of the queue in which digests wait for their time. */
  clock: 'nc-bot',
  digests: (cluster: string) => `nc-bot:digests:${cluster}`,
  digestNumber: (cluster: string) => `nc-bot:digest-number:${cluster}`,
  digestSlots: (cluster: string) => `nc-bot:digest-slots:${cluster}`,
  digestFacts: (cluster: string) => `nc-bot:digest-facts:${cluster}`,
  digestDraft: (cluster: string, id: string) => `nc-bot:digest-draft:${cluster}/${id}`,
  digestRecord: (cluster: string, run: string) => `nc-bot:digest-record:${cluster}/${run}`,
  digestTrend: (cluster: string, digest: string) => `nc-bot:digest-trend:${cluster}/${digest}`,
  history: (cluster: string) => `nc-bot:history:${cluster}`,
  historyEntries: (cluster: string) => `nc-bot:history-entries:${cluster}`,
  historyRoots: (cluster: string) => `nc-bot:history-roots:${cluster}`,
} as const;

/** How long things are kept, in seconds. */
export const KEEP = {
  run: 14 * 86_400,
  bundle: 86_400,
  progress: 3_600,
  closedAction: 90 * 86_400,
  signature: 600,
  draft: 900,
  history: 90 * 86_400,
} as const;
