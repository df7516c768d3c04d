import { z } from 'zod';
import { wholeNumber } from '../kit/params.ts';
import { sysctlRemedy } from '../kit/sysctl.ts';

const key = (number: number): string => `net/ipv4/neigh/default/gc_thresh${number}`;
const Limit = wholeNumber(128, 2 ** 24);

/** N12: lets the neighbour table hold more. It is one for all network namespaces of the machine. */
export const raiseNeighbourLimits = sysctlRemedy({
  id: 'raise-neighbour-limits',
  title: 'Let the neighbour table hold more',
  risk: 'A fuller table takes more memory, less than a kilobyte an entry, and what fills it goes on.',
  riskClass: 'low',
  params: z
    .strictObject({ thresh1: Limit, thresh2: Limit, thresh3: Limit })
    .refine(
      ({ thresh1, thresh2, thresh3 }) => Number(thresh1) < Number(thresh2) && Number(thresh2) < Number(thresh3),
      'not in rising order',
    ),
  file: '/etc/sysctl.d/99-netcheck-neighbours.conf',
  // The largest first: at no time is a lower limit above a higher one.
  values: ({ thresh1, thresh2, thresh3 }) => ({ [key(3)]: thresh3, [key(2)]: thresh2, [key(1)]: thresh1 }),
  obsolete({ thresh3 }, values) {
    const value = values[key(3)] ?? null;
    if (value === null) return 'the kernel shows no limits of the neighbour table here';
    return Number(value) >= Number(thresh3) ? `the table may have ${value} entries by now (gc_thresh3)` : null;
  },
});
