import { listAt, textAt } from './objects.ts';
import { typeNamed } from './resources.ts';
import { type Failure, failure, qualified } from './status.ts';
import type { Store } from './store.ts';

export type User = { readonly name: string; readonly groups: readonly string[] };

/** What a request wants: `resource` with its subresource, as in `pods/exec`; empty namespace for all of them. */
export type Access = {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
};

/** The group whose members may do everything. */
export const ADMINS = 'system:masters';

/**
 * Whether the RBAC objects of the store allow an access. Members of `system:masters` may do everything, and so may
 * everybody while there is no binding at all (a server without the RBAC authorizer). Aggregated roles and the default
 * roles of a real cluster are left out.
 */
export function isAllowed(store: Store, user: User, access: Access): boolean {
  if (user.groups.includes(ADMINS)) return true;
  const [clusterBindings, bindings, clusterRoles, roles] = ['clusterrolebindings', 'rolebindings', 'clusterroles', 'roles'].map(
    (name) => {
      const type = typeNamed(name);
      return type === undefined ? [] : store.list(type, '');
    },
  );
  if (clusterBindings === undefined || bindings === undefined || clusterBindings.length + bindings.length === 0) return true;
  const inNamespace = bindings.filter((binding) => access.namespace !== '' && binding.metadata.namespace === access.namespace);
  return [...clusterBindings, ...inNamespace].some((binding) => {
    if (!listAt(binding, 'subjects').some((subject) => isSubject(subject, user))) return false;
    const name = textAt(binding, 'roleRef', 'name');
    const role =
      textAt(binding, 'roleRef', 'kind') === 'ClusterRole'
        ? clusterRoles?.find((candidate) => candidate.metadata.name === name)
        : roles?.find(
            (candidate) => candidate.metadata.name === name && candidate.metadata.namespace === binding.metadata.namespace,
          );
    return listAt(role, 'rules').some((rule) => allows(rule, access));
  });
}

/** The Failure of an access that is not allowed, in the words of the RBAC authorizer. */
export function forbidden(user: User, access: Access): Failure {
  const [plural = ''] = access.resource.split('/');
  const type = typeNamed(plural);
  const resource = type === undefined ? plural : qualified(type);
  const where = access.namespace === '' ? 'at the cluster scope' : `in the namespace "${access.namespace}"`;
  return failure(
    403,
    'Forbidden',
    `${resource}${access.name === '' ? '' : ` "${access.name}"`} is forbidden: User "${user.name}" cannot ${access.verb} resource "${access.resource}" in API group "${access.group}" ${where}`,
    {
      ...(access.name === '' ? {} : { name: access.name }),
      ...(access.group === '' ? {} : { group: access.group }),
      kind: plural,
    },
  );
}

function isSubject(subject: unknown, user: User): boolean {
  const name = textAt(subject, 'name');
  switch (textAt(subject, 'kind')) {
    case 'User':
      return name === user.name;
    case 'Group':
      return user.groups.includes(name) || name === 'system:authenticated';
    case 'ServiceAccount':
      return user.name === `system:serviceaccount:${textAt(subject, 'namespace')}:${name}`;
    default:
      return false;
  }
}

function allows(rule: unknown, { verb, group, resource, name }: Access): boolean {
  const [, subresource] = resource.split('/');
  const resources = listAt(rule, 'resources');
  const names = listAt(rule, 'resourceNames');
  const isResource = ['*', resource, ...(subresource === undefined ? [] : [`*/${subresource}`])].some((wanted) =>
    resources.includes(wanted),
  );
  return (
    isResource &&
    [verb, '*'].some((wanted) => listAt(rule, 'verbs').includes(wanted)) &&
    [group, '*'].some((wanted) => listAt(rule, 'apiGroups').includes(wanted)) &&
    (names.length === 0 || names.includes(name))
  );
}
