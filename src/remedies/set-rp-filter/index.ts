import { z } from 'zod';
import { DeviceName } from '../kit/params.ts';
import { sysctlRemedy } from '../kit/sysctl.ts';

const ALL = 'net/ipv4/conf/all/rp_filter';
const keyOf = (device: string): string => `net/ipv4/conf/${device}/rp_filter`;

/** N5: makes the reverse path filter of one device loose. Of a device and `all` the larger number counts: 2 is loose. */
export const setRpFilter = sysctlRemedy({
  id: 'set-rp-filter',
  title: 'Make the reverse path filter loose',
  risk: 'The device then takes packets from every address that the node has a route to, by whatever device: who is on that link can pretend to be somebody elsewhere.',
  riskClass: 'medium',
  params: z.strictObject({
    device: DeviceName.refine((name) => name !== 'all' && name !== 'default', 'not a device'),
    value: z.literal('2'),
  }),
  beside: [ALL],
  values: ({ device, value }) => ({ [keyOf(device)]: value }),
  obsolete({ device }, values) {
    const own = values[keyOf(device)] ?? null;
    if (own === null) return `there is no device ${device} any more`;
    const effective = Math.max(Number(own), Number(values[ALL] ?? 0));
    return effective === 1 ? null : `the filter of ${device} is ${effective === 0 ? 'off' : 'loose'} by now`;
  },
});
