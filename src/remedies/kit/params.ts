import { z } from 'zod';

/** The name of a network device; never an option, and never a way to another folder of /proc/sys. */
export const DeviceName = z.string().regex(/^(?!-|\.{1,2}$)[A-Za-z0-9_.:@-]{1,15}$/, 'not the name of a network device');

/** A whole number from `min` to `max`, as text. */
export function wholeNumber(min: number, max: number): z.ZodType<string> {
  return z
    .string()
    .regex(/^[1-9]\d{0,9}$/, 'not a number')
    .refine((text) => Number(text) >= min && Number(text) <= max, `not from ${min} to ${max}`);
}

/** The name of a Kubernetes object; it becomes part of a path of the API. */
export const DnsName = z.string().regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'not the name of a Kubernetes object');

/** The uid of a Kubernetes object. */
export const Uid = z.string().regex(/^[\w-]{1,64}$/, 'not a uid');
