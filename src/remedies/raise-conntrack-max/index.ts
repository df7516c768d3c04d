import { z } from 'zod';
import { wholeNumber } from '../kit/params.ts';
import { sysctlRemedy } from '../kit/sysctl.ts';

const KEY = 'net/netfilter/nf_conntrack_max';

/** N6: lets the connection-tracking table grow with the node's memory. The setting is the whole machine's. */
export const raiseConntrackMax = sysctlRemedy({
  id: 'raise-conntrack-max',
  title: 'Let the connection-tracking table grow',
  risk: 'A fuller table takes more memory, about 320 bytes an entry, and a little more time for each packet, since its hash table stays as large as it is. kube-proxy sets its own limit when it starts again (conntrack.maxPerCore and conntrack.min in its configuration; 0 lets it be).',
  riskClass: 'low',
  params: z.strictObject({ max: wholeNumber(1024, 2 ** 31 - 1) }),
  file: '/etc/sysctl.d/99-netcheck-conntrack.conf',
  values: ({ max }) => ({ [KEY]: max }),
  obsolete({ max }, values) {
    const value = values[KEY] ?? null;
    if (value === null) return 'the kernel tracks no connections any more';
    return Number(value) >= Number(max) ? `the table may have ${value} entries by now` : null;
  },
});
