import { type KubeObject, listAt, textAt, valueAt } from './objects.ts';
import type { User } from './rbac.ts';
import { type ResourcePath, typeNamed } from './resources.ts';
import { type Failure, failure } from './status.ts';
import type { Store } from './store.ts';

/** What a policy sees of a request: `object` of a CONNECT are its options, `oldObject` of a DELETE is what would be gone. */
type Admitted = {
  readonly operation: 'CONNECT' | 'DELETE';
  readonly object: unknown;
  readonly oldObject: unknown;
};

/** What the policies say to a CONNECT, such as an exec; see `denialOf`. */
export function connectDenial(store: Store, user: User, path: ResourcePath, query: URLSearchParams): Promise<Failure | null> {
  const object = {
    apiVersion: 'v1',
    kind: 'PodExecOptions',
    ...(query.has('container') ? { container: query.get('container') } : {}),
    ...(query.has('command') ? { command: query.getAll('command') } : {}),
  };
  return denialOf(store, user, path, { operation: 'CONNECT', object, oldObject: null });
}

/** What the policies say to the deletion of an object; see `denialOf`. */
export function deleteDenial(store: Store, user: User, path: ResourcePath, oldObject: KubeObject): Promise<Failure | null> {
  return denialOf(store, user, path, { operation: 'DELETE', object: null, oldObject });
}

/**
 * What the ValidatingAdmissionPolicies of the store say to a request: null, or the denial in the words of a real server.
 * They are evaluated as CEL. Left out: parameters, namespace selectors other than `matchLabels`, rules of bindings, audit
 * annotations and message expressions.
 */
async function denialOf(store: Store, user: User, path: ResourcePath, admitted: Admitted): Promise<Failure | null> {
  const resource = path.subresource === '' ? path.resource : `${path.resource}/${path.subresource}`;
  for (const binding of listOf(store, 'validatingadmissionpolicybindings')) {
    const name = textAt(binding, 'spec', 'policyName');
    const policy = listOf(store, 'validatingadmissionpolicies').find((one) => one.metadata.name === name);
    if (policy === undefined || !listAt(binding, 'spec', 'validationActions').includes('Deny')) continue;
    if (!isMatched(store, policy, path, admitted.operation, resource)) continue;
    const problem = await violation(policy, user, path, admitted);
    if (problem === null) continue;
    const said = `ValidatingAdmissionPolicy '${name}' with binding '${binding.metadata.name}' denied request: ${problem.message}`;
    const code = { Forbidden: 403, Unauthorized: 401, Invalid: 422 }[problem.reason] ?? 422;
    return failure(code, problem.reason, `${path.resource} "${path.name}" is forbidden: ${said}`);
  }
  return null;
}

function isMatched(
  store: Store,
  policy: KubeObject,
  { group, version, namespace }: ResourcePath,
  operation: string,
  resource: string,
): boolean {
  const rules = listAt(policy, 'spec', 'matchConstraints', 'resourceRules');
  const isRule = rules.some(
    (rule) =>
      listAt(rule, 'apiGroups').includes(group) &&
      listAt(rule, 'apiVersions').includes(version) &&
      listAt(rule, 'operations').includes(operation) &&
      listAt(rule, 'resources').includes(resource),
  );
  const wanted = valueAt(policy, 'spec', 'matchConstraints', 'namespaceSelector', 'matchLabels') ?? {};
  const labels = {
    ...listOf(store, 'namespaces').find((one) => one.metadata.name === namespace)?.metadata.labels,
    // The API server itself sets it on every namespace.
    'kubernetes.io/metadata.name': namespace,
  };
  return isRule && Object.entries(wanted).every(([key, value]) => labels[key as keyof typeof labels] === value);
}

/** The first validation that does not hold. What cannot be evaluated does not hold: `failurePolicy: Fail`. */
async function violation(
  policy: KubeObject,
  user: User,
  path: ResourcePath,
  { operation, object, oldObject }: Admitted,
): Promise<{ readonly reason: string; readonly message: string } | null> {
  const { evaluate } = await import('@marcbachmann/cel-js');
  const { namespace, name, subresource } = path;
  const request = {
    operation,
    subResource: subresource,
    namespace,
    name,
    userInfo: { username: user.name, groups: user.groups },
  };
  const variables: Record<string, unknown> = {};
  const scope = { object, oldObject, request, variables };
  for (const condition of listAt(policy, 'spec', 'matchConditions'))
    if (evaluate(textAt(condition, 'expression'), scope) === false) return null;
  for (const validation of listAt(policy, 'spec', 'validations')) {
    const expression = textAt(validation, 'expression');
    const reason = textAt(validation, 'reason') || 'Invalid';
    try {
      for (const variable of listAt(policy, 'spec', 'variables'))
        variables[textAt(variable, 'name')] = evaluate(textAt(variable, 'expression'), scope);
      if (evaluate(expression, scope) === true) continue;
    } catch (error) {
      return { reason: 'Invalid', message: `expression '${expression}' resulted in error: ${String(error)}` };
    }
    return { reason, message: textAt(validation, 'message') || `failed expression: ${expression}` };
  }
  return null;
}

function listOf(store: Store, resource: string): readonly KubeObject[] {
  const type = typeNamed(resource);
  return type === undefined ? [] : store.list(type, '');
}
