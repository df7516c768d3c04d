import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { parseCounters } from './counters.ts';
import { DEVICE_COUNTERS } from './readings.ts';

// Linux 6.18, with the other devices left out.
const COUNTERS = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
flannel.1:  104664    1246    0    0    0     0          0         0   104580    1245    0    2    0     0       0          0
`;

const read = (stdout: string, rest = {}) => parseCounters(evidence(['cat', ...DEVICE_COUNTERS.files], stdout, rest));

test('packets of every device, both ways', () => {
  expect(read(COUNTERS)).toEqual({
    outcome: 'ok',
    facts: new Map([
      ['lo', { received: 0, sent: 0, errors: 0, dropped: 0 }],
      ['flannel.1', { received: 1246, sent: 1245, errors: 0, dropped: 2 }],
    ]),
  });
});

test.each([
  ['nothing', ''],
  ['garbage', 'garbage\n'],
  ['no device', COUNTERS.split('\n').slice(0, 2).join('\n')],
  ['a line that was cut', COUNTERS.slice(0, -20)],
])('%s is unknown', (_, stdout) => {
  expect(read(stdout)).toMatchObject({ outcome: 'unknown' });
});

test('what was cut off by the cap is unknown', () => {
  expect(read(COUNTERS, { truncated: true, exitCode: null })).toMatchObject({ outcome: 'unknown' });
});
