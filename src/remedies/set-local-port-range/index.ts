import { z } from 'zod';
import { sysctlRemedy } from '../kit/sysctl.ts';

const KEY = 'net/ipv4/ip_local_port_range';

const Range = z
  .string()
  .regex(/^[1-9]\d{3,4} [1-9]\d{3,4}$/, 'not a range of ports')
  .refine((text) => {
    const [from, to] = boundsOf(text);
    return from >= 1024 && from < to && to <= 65_535;
  }, 'not a range of ports');

/** N9: gives the node's own connections ports apart from those of NodePorts. */
export const setLocalPortRange = sysctlRemedy({
  id: 'set-local-port-range',
  title: 'Keep local ports apart from NodePorts',
  risk: 'There are fewer ports for the connections of the node to one destination. Connections that are open keep the ports that they have.',
  riskClass: 'low',
  params: z.strictObject({ range: Range }),
  values: ({ range }) => ({ [KEY]: range }),
  obsolete({ range }, values) {
    const value = values[KEY] ?? null;
    if (value === null) return 'the kernel shows no range of local ports';
    const [[from, to], [first, last]] = [boundsOf(value), boundsOf(range)];
    return from >= first && to <= last ? `connections get ports ${from} to ${to} by now` : null;
  },
});

function boundsOf(range: string): readonly [number, number] {
  const [from, to] = range.split(' ').map(Number);
  return [from ?? 0, to ?? 0];
}
