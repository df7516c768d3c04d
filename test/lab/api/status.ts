import type { ResourceType } from './resources.ts';

/** A Status of the Kubernetes API that says why a request failed, in the shape of apimachinery's api/errors. */
export type Failure = {
  readonly kind: 'Status';
  readonly apiVersion: 'v1';
  readonly metadata: Record<string, never>;
  readonly status: 'Failure';
  readonly message: string;
  readonly reason?: string;
  readonly details?: Record<string, unknown>;
  readonly code: number;
};

/** A Failure; `reason` is left out where a real server gives none. */
export function failure(code: number, reason: string | null, message: string, details?: Record<string, unknown>): Failure {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    ...(reason === null ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code,
  };
}

/** Whether an answer of the store or of a handler is a Failure. */
export function isFailure(value: object): value is Failure {
  return 'kind' in value && value.kind === 'Status' && 'status' in value && value.status === 'Failure';
}

/** `pods`, `deployments.apps`: how messages name a resource. */
export function qualified(type: ResourceType): string {
  return type.group === '' ? type.resource : `${type.resource}.${type.group}`;
}

function detailsOf(type: ResourceType, name: string): Record<string, unknown> {
  return { ...(name === '' ? {} : { name }), ...(type.group === '' ? {} : { group: type.group }), kind: type.resource };
}

export function notFound(type: ResourceType, name: string): Failure {
  return failure(404, 'NotFound', `${qualified(type)} "${name}" not found`, detailsOf(type, name));
}

export function noSuchPath(): Failure {
  return failure(404, 'NotFound', 'the server could not find the requested resource', {});
}

export function alreadyExists(type: ResourceType, name: string): Failure {
  return failure(409, 'AlreadyExists', `${qualified(type)} "${name}" already exists`, detailsOf(type, name));
}

export function conflict(type: ResourceType, name: string, why: string): Failure {
  const message = `Operation cannot be fulfilled on ${qualified(type)} "${name}": ${why}`;
  return failure(409, 'Conflict', message, detailsOf(type, name));
}

export function badRequest(message: string): Failure {
  return failure(400, 'BadRequest', message);
}

export function invalid(type: ResourceType, name: string, field: string, why: string): Failure {
  return failure(422, 'Invalid', `${type.kind} "${name}" is invalid: ${field}: ${why}`, {
    ...detailsOf(type, name),
    kind: type.kind,
    causes: [{ reason: 'FieldValueInvalid', message: why, field }],
  });
}

export function expired(message: string): Failure {
  return failure(410, 'Expired', message);
}

export function unauthorized(): Failure {
  return failure(401, 'Unauthorized', 'Unauthorized');
}

export function internalError(message: string): Failure {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

export function throttled(retryAfterSeconds: number): Failure {
  return failure(429, 'TooManyRequests', 'the server has received too many requests and has asked us to try again later', {
    retryAfterSeconds,
  });
}
