import { type KubeObject, textAt } from './objects.ts';
import type { ResourceType } from './resources.ts';
import { badRequest, type Failure } from './status.ts';

export type Predicate = (object: KubeObject) => boolean;

/** Compiles a label selector: `a=b`, `a==b`, `a!=b`, `a`, `!a`, `a in (b,c)`, `a notin (b,c)`, joined by commas. */
export function labelSelector(text: string): Predicate | Failure {
  const terms: Predicate[] = [];
  for (const term of text.split(/,(?![^(]*\))/).map((part) => part.trim())) {
    if (term === '') continue;
    const set = /^([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(term);
    const equals = /^([\w./-]+)\s*(!=|==|=)\s*([\w.-]*)$/.exec(term);
    const exists = /^(!?)\s*([\w./-]+)$/.exec(term);
    if (set?.[1] !== undefined && set[3] !== undefined) {
      const key = set[1];
      const values = set[3].split(',').map((value) => value.trim());
      const wanted = set[2] === 'in';
      terms.push((object) => values.includes(labelOf(object, key) ?? '\0') === wanted);
    } else if (equals?.[1] !== undefined && equals[3] !== undefined) {
      const key = equals[1];
      const value = equals[3];
      const wanted = equals[2] !== '!=';
      terms.push((object) => (labelOf(object, key) === value) === wanted);
    } else if (exists?.[2] !== undefined) {
      const key = exists[2];
      const wanted = exists[1] === '';
      terms.push((object) => (labelOf(object, key) !== undefined) === wanted);
    } else {
      return badRequest(`unable to parse requirement: found '${term}', expected: a label requirement`);
    }
  }
  return (object) => terms.every((isMatch) => isMatch(object));
}

function labelOf(object: KubeObject, key: string): string | undefined {
  return object.metadata.labels?.[key];
}

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  'metadata.name': ['metadata', 'name'],
  'metadata.namespace': ['metadata', 'namespace'],
};
/** Source: kubernetes pkg/registry/core/event/strategy.go, ToSelectableFields. */
const EVENT_FIELDS: Readonly<Record<string, readonly string[]>> = {
  type: ['type'],
  reason: ['reason'],
  'involvedObject.kind': ['involvedObject', 'kind'],
  'involvedObject.namespace': ['involvedObject', 'namespace'],
  'involvedObject.name': ['involvedObject', 'name'],
};
const POD_FIELDS: Readonly<Record<string, readonly string[]>> = {
  'spec.nodeName': ['spec', 'nodeName'],
  'status.phase': ['status', 'phase'],
};

/** Compiles a field selector over the fields that a real server supports for the type, of which there are few. */
export function fieldSelector(text: string, type: ResourceType): Predicate | Failure {
  const own = { pods: POD_FIELDS, events: EVENT_FIELDS }[type.resource] ?? {};
  const fields: Readonly<Record<string, readonly string[]>> = { ...FIELDS, ...own };
  const terms: Predicate[] = [];
  for (const term of text.split(',').filter((part) => part !== '')) {
    const match = /^([\w.]+)(!=|==|=)(.*)$/.exec(term);
    const path = fields[match?.[1] ?? ''];
    if (match === null || path === undefined) return badRequest(`field label not supported: ${match?.[1] ?? term}`);
    const value = match[3] ?? '';
    const wanted = match[2] !== '!=';
    terms.push((object) => (textAt(object, ...path) === value) === wanted);
  }
  return (object) => terms.every((isMatch) => isMatch(object));
}
