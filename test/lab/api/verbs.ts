import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { messageOf } from '../../../src/model/text.ts';
import { KubeObject, textAt, valueAt } from './objects.ts';
import { jsonPatch, mergePatch } from './patch.ts';
import type { User } from './rbac.ts';
import { apiVersionOf, type ResourcePath, type ResourceType, typeNamed } from './resources.ts';
import { fieldSelector, labelSelector, type Predicate } from './selectors.ts';
import { badRequest, type Failure, failure, invalid, isFailure, notFound } from './status.ts';
import { type Change, type Store, timestamp } from './store.ts';

const MAX_BODY_BYTES = 3 << 20;

export type Call = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  readonly user: User;
};

export type ResourceCall = Call & { readonly path: ResourcePath; readonly type: ResourceType };

/** What a handler answers: a status code and an object, or null when it has answered by itself. */
export type Answer = { readonly code: number; readonly body: object } | Failure | null;

export type Verb = 'list' | 'watch' | 'get' | 'create' | 'update' | 'patch' | 'delete';

/** A watch that is open. */
export type OpenWatch = { readonly resource: string; readonly cut: () => void };

type VerbOptions = {
  readonly store: Store;
  readonly watches: Set<OpenWatch>;
  readonly isWatchDropped: (resource: string) => boolean;
  /** Deletes an object under the preconditions of a DeleteOptions body. */
  readonly remove: (type: ResourceType, namespace: string, name: string, body: unknown) => KubeObject | Failure;
  readonly now: () => Date;
};

/** What the server does with stored objects, by verb. */
export function createVerbs(options: VerbOptions): Readonly<Record<Verb, (call: ResourceCall) => Answer | Promise<Answer>>> {
  const { store, watches, isWatchDropped, remove, now } = options;

  function selection({ url, type, path }: ResourceCall): Predicate | Failure {
    const labels = labelSelector(url.searchParams.get('labelSelector') ?? '');
    if (typeof labels !== 'function') return labels;
    const fields = fieldSelector(url.searchParams.get('fieldSelector') ?? '', type);
    if (typeof fields !== 'function') return fields;
    return (object) =>
      (path.namespace === '' || object.metadata.namespace === path.namespace) && labels(object) && fields(object);
  }

  function listObjects(call: ResourceCall): Answer {
    const { url, path, type } = call;
    const isSelected = selection(call);
    if (typeof isSelected !== 'function') return isSelected;
    const limit = Number(url.searchParams.get('limit') ?? 0);
    if (!Number.isInteger(limit) || limit < 0) return badRequest('strconv.ParseInt: parsing "limit": invalid syntax');
    const token = url.searchParams.get('continue') ?? '';
    const page =
      token === '' ? store.firstPage(store.list(type, path.namespace).filter(isSelected), limit) : store.nextPage(token, limit);
    if (isFailure(page)) return page;
    const hasSelector = url.searchParams.has('labelSelector') || url.searchParams.has('fieldSelector');
    const metadata = {
      resourceVersion: String(page.version),
      ...(page.next === null ? {} : { continue: page.next }),
      ...(page.next === null || hasSelector ? {} : { remainingItemCount: page.left }),
    };
    // As from a real server, the items of a list do not repeat their apiVersion and kind.
    const items = page.items.map(({ apiVersion: _apiVersion, kind: _kind, ...rest }) => rest);
    return { code: 200, body: { kind: `${type.kind}List`, apiVersion: apiVersionOf(type), metadata, items } };
  }

  function watchObjects(call: ResourceCall): Answer {
    const { url, path, type, response } = call;
    const isSelected = selection(call);
    if (typeof isSelected !== 'function') return isSelected;
    const since = url.searchParams.get('resourceVersion') ?? '';
    const isFresh = since === '' || since === '0' || url.searchParams.get('sendInitialEvents') === 'true';
    if (!isFresh && !/^\d+$/.test(since)) return badRequest(`resourceVersion: Invalid value: "${since}"`);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const write = (event: object): void => void response.write(`${JSON.stringify(event)}\n`);
    const bookmark = (annotations?: Record<string, string>): void => {
      if (url.searchParams.get('allowWatchBookmarks') !== 'true') return;
      const metadata = { resourceVersion: String(store.version()), creationTimestamp: null, ...(annotations && { annotations }) };
      write({ type: 'BOOKMARK', object: { kind: type.kind, apiVersion: apiVersionOf(type), metadata } });
    };
    if (isFresh) {
      for (const object of store.list(type, path.namespace)) if (isSelected(object)) write({ type: 'ADDED', object });
      if (url.searchParams.get('sendInitialEvents') === 'true') bookmark({ 'k8s.io/initial-events-end': 'true' });
    }
    const unsubscribe = store.subscribe(type, isFresh ? store.version() : Number(since), (change) => {
      const event = selectedEvent(change, isSelected);
      if (event !== null) write(event);
    });
    if (typeof unsubscribe !== 'function') {
      write({ type: 'ERROR', object: unsubscribe });
      response.end();
      return null;
    }
    const watch = { resource: type.resource, cut: () => response.destroy() };
    watches.add(watch);
    const seconds = Number(url.searchParams.get('timeoutSeconds') ?? 1800);
    const timer = setTimeout(() => {
      bookmark();
      response.end();
    }, seconds * 1000);
    response.on('close', () => {
      clearTimeout(timer);
      watches.delete(watch);
      unsubscribe();
    });
    if (isWatchDropped(type.resource)) watch.cut();
    return null;
  }

  async function createObject({ request, path, type }: ResourceCall): Promise<Answer> {
    const body = await readBody(request);
    if (isFailure(body)) return body;
    const generated = textAt(body, 'metadata', 'generateName');
    const name = textAt(body, 'metadata', 'name') || (generated === '' ? '' : `${generated}${randomUUID().slice(0, 5)}`);
    if (name === '') return invalid(type, '', 'metadata.name', 'Required value: name or generateName is required');
    const checked = checkBody(body, type, path, name);
    if (isFailure(checked)) return checked;
    const { uid: _uid, resourceVersion: _version, ...metadata } = checked.metadata;
    const namespaces = typeNamed('namespaces');
    if (type.namespaced && namespaces !== undefined && store.get(namespaces, '', path.namespace) === undefined) {
      return notFound(namespaces, path.namespace);
    }
    // As legacyValidateEvent in pkg/apis/core/validation/events.go has it.
    if (type.resource === 'events' && (textAt(checked, 'involvedObject', 'namespace') || 'default') !== path.namespace)
      return invalid(type, name, 'involvedObject.namespace', 'Invalid value: does not match event.namespace');
    const created = store.create(type, { ...checked, metadata });
    return isFailure(created) ? created : { code: 201, body: created };
  }

  async function updateObject({ request, path, type }: ResourceCall): Promise<Answer> {
    const body = await readBody(request);
    if (isFailure(body)) return body;
    const checked = checkBody(body, type, path, path.name);
    if (isFailure(checked)) return checked;
    const updated = store.update(type, checked);
    return isFailure(updated) ? updated : { code: 200, body: updated };
  }

  async function patchObject({ request, path, type }: ResourceCall): Promise<Answer> {
    const contentType = (request.headers['content-type'] ?? '').split(';')[0]?.trim() ?? '';
    const patch = await readBody(request);
    if (isFailure(patch)) return patch;
    const current = store.get(type, path.namespace, path.name);
    const isApply = contentType === 'application/apply-patch+yaml';
    if (current === undefined && isApply) {
      const checked = checkBody(patch, type, path, path.name);
      if (isFailure(checked)) return checked;
      const created = store.create(type, checked);
      return isFailure(created) ? created : { code: 201, body: created };
    }
    if (current === undefined) return notFound(type, path.name);
    let value: unknown;
    switch (contentType) {
      case 'application/json-patch+json': {
        const patched = jsonPatch(current, patch);
        if (!patched.ok)
          return failure(422, 'Invalid', `the server rejected our request due to an error in our request: ${patched.message}`);
        value = patched.value;
        break;
      }
      case 'application/merge-patch+json':
      case 'application/strategic-merge-patch+json':
      case 'application/apply-patch+yaml':
        value = mergePatch(current, patch);
        break;
      default:
        return failure(
          415,
          'UnsupportedMediaType',
          `the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml`,
        );
    }
    const checked = checkBody(value, type, path, path.name);
    if (isFailure(checked)) return checked;
    const updated = store.update(type, checked);
    return isFailure(updated) ? updated : { code: 200, body: updated };
  }

  return {
    list: listObjects,
    watch: watchObjects,
    get({ path, type }) {
      const object = store.get(type, path.namespace, path.name);
      return object === undefined ? notFound(type, path.name) : { code: 200, body: object };
    },
    create: createObject,
    update: updateObject,
    patch: patchObject,
    async delete({ request, path, type }) {
      const body = await readBody(request);
      if (isFailure(body)) return body;
      const removed = remove(type, path.namespace, path.name, body);
      if (isFailure(removed)) return removed;
      if (type.resource === 'pods') {
        return { code: 200, body: { ...removed, metadata: { ...removed.metadata, deletionTimestamp: timestamp(now()) } } };
      }
      const details = {
        name: path.name,
        ...(type.group === '' ? {} : { group: type.group }),
        kind: type.resource,
        uid: removed.metadata.uid,
      };
      return { code: 200, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details } };
    },
  };
}

/** A change as a watch with selectors shows it: what leaves the selection is deleted, what enters it is added. */
function selectedEvent({ type, object, previous }: Change, isSelected: Predicate): { type: string; object: KubeObject } | null {
  const was = previous !== null && isSelected(previous);
  const is = type !== 'DELETED' && isSelected(object);
  if (is) return { type: was ? 'MODIFIED' : 'ADDED', object };
  return was ? { type: 'DELETED', object } : null;
}

/** An object as a request brought it, if it is one of this type, name and namespace. */
function checkBody(body: unknown, type: ResourceType, path: ResourcePath, name: string): KubeObject | Failure {
  const apiVersion = textAt(body, 'apiVersion') || apiVersionOf(type);
  const kind = textAt(body, 'kind') || type.kind;
  if (apiVersion !== apiVersionOf(type) || kind !== type.kind) {
    return badRequest(`${kind} in version "${apiVersion}" cannot be handled as a ${type.kind}`);
  }
  const namespace = textAt(body, 'metadata', 'namespace') || path.namespace;
  if (namespace !== path.namespace)
    return badRequest('the namespace of the provided object does not match the namespace sent on the request');
  const metadata = { ...(valueAt(body, 'metadata') as object | undefined), name, ...(type.namespaced ? { namespace } : {}) };
  const given = textAt(body, 'metadata', 'name');
  if (given !== '' && given !== name) return badRequest('the name of the object does not match the name on the URL');
  const parsed = KubeObject.safeParse({ ...(body as object), apiVersion, kind, metadata });
  if (!parsed.success) return badRequest(z.prettifyError(parsed.error));
  return parsed.data;
}

/** The body as JSON (or YAML, which an apply may send); an empty body is an empty object. */
export async function readBody(request: IncomingMessage): Promise<object | Failure> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_BODY_BYTES) return failure(413, 'RequestEntityTooLarge', `the body is larger than ${MAX_BODY_BYTES} bytes`);
  }
  const text = Buffer.concat(chunks).toString();
  if (text.trim() === '') return {};
  try {
    const parsed: unknown = request.headers['content-type']?.includes('yaml') ? parseYaml(text) : JSON.parse(text);
    return typeof parsed === 'object' && parsed !== null ? parsed : badRequest('the body is not an object');
  } catch (error) {
    return badRequest(`the body cannot be read: ${messageOf(error)}`);
  }
}
