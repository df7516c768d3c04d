import { z } from 'zod';

/** The name of a Kubernetes object; it becomes part of a path of the API. */
export const DnsName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'not the name of a Kubernetes object');

/** The uid of a Kubernetes object. */
export const Uid = z.string().regex(/^[\w-]{1,64}$/, 'not a uid');
