import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { UDP_SOCKETS } from './readings.ts';
import { parseUdpSockets } from './sockets.ts';

// ss of iproute2 6.1: a process, the kernel's own socket of a VXLAN device, a device in the address, IPv6, two processes.
const CAPTURED = `UNCONN 0      0      0.0.0.0:40739 0.0.0.0:* users:(("MainThread",pid=88,fd=26))
UNCONN 0      0      0.0.0.0:8472  0.0.0.0:*                                    
UNCONN 3328   0      10.28.87.60%eth0:68 0.0.0.0:* users:(("dhclient",pid=7,fd=6))
UNCONN 0      0      [::]:5353  [::]:* users:(("avahi-daemon",pid=12,fd=13),("avahi",pid=13,fd=13))
`;

test('reads ports and who holds them', () => {
  expect(parseUdpSockets(evidence(UDP_SOCKETS.argv, CAPTURED))).toEqual({
    outcome: 'ok',
    facts: [
      {
        port: 40739,
        process: 'MainThread (PID 88)',
        text: 'UNCONN 0 0 0.0.0.0:40739 0.0.0.0:* users:(("MainThread",pid=88,fd=26))',
      },
      { port: 8472, process: null, text: 'UNCONN 0 0 0.0.0.0:8472 0.0.0.0:*' },
      {
        port: 68,
        process: 'dhclient (PID 7)',
        text: 'UNCONN 3328 0 10.28.87.60%eth0:68 0.0.0.0:* users:(("dhclient",pid=7,fd=6))',
      },
      {
        port: 5353,
        process: 'avahi-daemon (PID 12)',
        text: 'UNCONN 0 0 [::]:5353 [::]:* users:(("avahi-daemon",pid=12,fd=13),("avahi",pid=13,fd=13))',
      },
    ],
  });
});

test('a node without UDP sockets prints nothing', () => {
  expect(parseUdpSockets(evidence(UDP_SOCKETS.argv, ''))).toEqual({ outcome: 'ok', facts: [] });
});

test.for(['Cannot open netlink socket: Permission denied\n', 'State Recv-Q Send-Q Local Address:Port\n', `${CAPTURED}UNCONN 0`])(
  'is unknown with a line that is no socket: %j',
  (stdout) => {
    expect(parseUdpSockets(evidence(UDP_SOCKETS.argv, stdout))).toEqual({
      outcome: 'unknown',
      reason: expect.stringMatching(/^ss -H -lunp: unreadable output \(not a socket: .+\)$/),
    });
  },
);
