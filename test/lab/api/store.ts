import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from './objects.ts';
import { apiVersionOf, type ResourceType } from './resources.ts';
import { alreadyExists, conflict, expired, type Failure, invalid, notFound } from './status.ts';

/** A change of an object, with the object as it was before (null for a new one). */
export type Change = {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly object: KubeObject;
  readonly previous: KubeObject | null;
};

/** What must hold for a deletion. */
type Preconditions = { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined };

/** One page of a list. `next` is the token of the page after it, or null on the last one. */
export type Page = {
  readonly items: readonly KubeObject[];
  readonly version: number;
  readonly next: string | null;
  readonly left: number;
};

export type Store = {
  /** The resource version of the latest change. */
  readonly version: () => number;
  readonly list: (type: ResourceType, namespace: string) => readonly KubeObject[];
  /** The first page of a list; the pages that follow show the same moment. */
  readonly firstPage: (items: readonly KubeObject[], limit: number) => Page;
  readonly nextPage: (token: string, limit: number) => Page | Failure;
  readonly get: (type: ResourceType, namespace: string, name: string) => KubeObject | undefined;
  readonly create: (type: ResourceType, object: KubeObject) => KubeObject | Failure;
  /** Replaces an object. A resourceVersion or uid in `object` must be the stored one. */
  readonly update: (type: ResourceType, object: KubeObject) => KubeObject | Failure;
  readonly remove: (type: ResourceType, namespace: string, name: string, preconditions: Preconditions) => KubeObject | Failure;
  /** Calls back for every change after `since`; an Expired Failure when those are no longer known. */
  readonly subscribe: (type: ResourceType, since: number, listener: (change: Change) => void) => (() => void) | Failure;
  /** Forgets all history: older resource versions and continue tokens are expired from now on. */
  readonly compact: () => void;
};

type Kept = {
  readonly objects: Map<string, KubeObject>;
  readonly history: Change[];
  readonly listeners: Set<(change: Change) => void>;
  /** The version of the latest change that is no longer in the history. */
  compacted: number;
};

type Snapshot = { readonly items: readonly KubeObject[]; readonly version: number };

/** How many lists may be half-way through their pages; the oldest expires first. */
const MAX_SNAPSHOTS = 64;

type StoreOptions = {
  readonly now: () => Date;
  /** How many changes of one resource are remembered for watches. */
  readonly historyLimit: number;
};

/** Objects with resource versions, their history, and pages over consistent snapshots. All in memory. */
export function createStore({ now, historyLimit }: StoreOptions): Store {
  const resources = new Map<ResourceType, Kept>();
  const snapshots = new Map<string, Snapshot>();
  let version = 1;

  function kept(type: ResourceType): Kept {
    const existing = resources.get(type);
    if (existing !== undefined) return existing;
    const created: Kept = { objects: new Map(), history: [], listeners: new Set(), compacted: 0 };
    resources.set(type, created);
    return created;
  }

  function record(type: ResourceType, change: Omit<Change, 'version'>): KubeObject {
    const resource = kept(type);
    const { history, listeners, objects } = resource;
    version += 1;
    const object = { ...change.object, metadata: { ...change.object.metadata, resourceVersion: String(version) } };
    const recorded: Change = { ...change, object, version };
    if (change.type === 'DELETED') objects.delete(keyOf(object));
    else objects.set(keyOf(object), object);
    history.push(recorded);
    if (history.length > historyLimit) resource.compacted = history.shift()?.version ?? 0;
    for (const listener of listeners) listener(recorded);
    return object;
  }

  function pageOf(snapshot: Snapshot, start: number, limit: number): Page {
    const end = limit === 0 ? snapshot.items.length : start + limit;
    const left = Math.max(0, snapshot.items.length - end);
    const items = snapshot.items.slice(start, end);
    if (left === 0) return { items, version: snapshot.version, next: null, left };
    const id = randomUUID();
    snapshots.set(id, snapshot);
    const oldest = snapshots.keys().next().value;
    if (snapshots.size > MAX_SNAPSHOTS && oldest !== undefined) snapshots.delete(oldest);
    const token = JSON.stringify({ v: 'meta.k8s.io/v1', rv: snapshot.version, start: end, id });
    return { items, version: snapshot.version, next: Buffer.from(token).toString('base64url'), left };
  }

  return {
    version: () => version,
    list(type, namespace) {
      const { objects } = kept(type);
      return [...objects.entries()]
        .filter(([, object]) => namespace === '' || object.metadata.namespace === namespace)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, object]) => object);
    },
    firstPage: (items, limit) => pageOf({ items, version }, 0, limit),
    nextPage(token, limit) {
      const parsed = parseToken(token);
      const snapshot = parsed === null ? undefined : snapshots.get(parsed.id);
      if (parsed === null || snapshot === undefined) {
        return expired(
          'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
        );
      }
      return pageOf(snapshot, parsed.start, limit);
    },
    get: (type, namespace, name) => kept(type).objects.get(`${namespace}/${name}`),
    create(type, object) {
      const { name } = object.metadata;
      if (kept(type).objects.has(keyOf(object))) return alreadyExists(type, name);
      if (!/^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$/.test(name)) {
        return invalid(
          type,
          name,
          'metadata.name',
          `Invalid value: "${name}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
        );
      }
      const metadata = { uid: randomUUID(), creationTimestamp: timestamp(now()), generation: 1, ...object.metadata };
      return record(type, {
        type: 'ADDED',
        object: { ...object, apiVersion: apiVersionOf(type), kind: type.kind, metadata },
        previous: null,
      });
    },
    update(type, object) {
      const { name, uid, resourceVersion } = object.metadata;
      const current = kept(type).objects.get(keyOf(object));
      if (current === undefined) return notFound(type, name);
      const { metadata } = current;
      if (uid !== undefined && uid !== metadata.uid) {
        return conflict(type, name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`);
      }
      if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
        return conflict(
          type,
          name,
          'the object has been modified; please apply your changes to the latest version and try again',
        );
      }
      const { creationTimestamp, generation = 1 } = metadata;
      const next: KubeObject = {
        ...object,
        apiVersion: current.apiVersion,
        kind: current.kind,
        metadata: {
          ...object.metadata,
          uid: metadata.uid,
          resourceVersion: metadata.resourceVersion,
          creationTimestamp,
          generation,
        },
      };
      // A write that changes nothing is no change: no new resource version and no event.
      if (isDeepStrictEqual(next, current)) return current;
      if (!isDeepStrictEqual(next['spec'], current['spec'])) next.metadata.generation = generation + 1;
      return record(type, { type: 'MODIFIED', object: next, previous: current });
    },
    remove(type, namespace, name, { uid, resourceVersion }) {
      const current = kept(type).objects.get(`${namespace}/${name}`);
      if (current === undefined) return notFound(type, name);
      const { metadata } = current;
      if (uid !== undefined && uid !== metadata.uid) {
        return conflict(
          type,
          name,
          `the UID in the precondition (${uid}) does not match the UID in record (${metadata.uid}). The object might have been deleted and then recreated`,
        );
      }
      if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
        return conflict(
          type,
          name,
          `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${metadata.resourceVersion}). The object might have been modified`,
        );
      }
      return record(type, { type: 'DELETED', object: current, previous: current });
    },
    subscribe(type, since, listener) {
      const { history, listeners, compacted } = kept(type);
      if (since < compacted) return expired(`too old resource version: ${since} (${compacted + 1})`);
      for (const change of history) if (change.version > since) listener(change);
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    compact() {
      snapshots.clear();
      for (const resource of resources.values()) {
        resource.history.length = 0;
        resource.compacted = version;
      }
    },
  };
}

/** A time as the API writes it: seconds, in UTC. */
export function timestamp(at: Date): string {
  return at.toISOString().replace(/\.\d+/, '');
}

function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

function parseToken(token: string): { readonly start: number; readonly id: string } | null {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    if (typeof parsed !== 'object' || parsed === null || !('start' in parsed) || !('id' in parsed)) return null;
    return typeof parsed.start === 'number' && typeof parsed.id === 'string' ? { start: parsed.start, id: parsed.id } : null;
  } catch {
    return null;
  }
}
