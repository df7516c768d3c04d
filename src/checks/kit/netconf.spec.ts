import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { parseNetconf } from './netconf.ts';
import { NETCONF } from './readings.ts';

// iproute2 6.1, with the other devices left out.
const CAPTURED = `[{"family":"inet","interface":"lo","forwarding":true,"rp_filter":"off","mc_forwarding":false,"proxy_neigh":false,"ignore_routes_with_linkdown":false},{"family":"inet","interface":"flannel.1","forwarding":false,"rp_filter":"strict","mc_forwarding":false,"proxy_neigh":false,"ignore_routes_with_linkdown":false},{"family":"inet","interface":"all","forwarding":true,"rp_filter":"loose","mc_forwarding":false,"proxy_neigh":false,"ignore_routes_with_linkdown":false}]
`;

test('reads forwarding and reverse path filter of every device', () => {
  expect(parseNetconf(evidence(NETCONF.argv, CAPTURED))).toEqual({
    outcome: 'ok',
    facts: [
      { device: 'lo', forwarding: true, rpFilter: 'off' },
      { device: 'flannel.1', forwarding: false, rpFilter: 'strict' },
      { device: 'all', forwarding: true, rpFilter: 'loose' },
    ],
  });
});

test.for([
  '',
  '[]',
  '[{}]',
  CAPTURED.replace('"inet"', '"inet6"'),
  CAPTURED.replace('"strict"', '"odd"'),
  CAPTURED.slice(0, 300),
])('is unknown without a device whose settings are known: %j', (stdout) => {
  expect(parseNetconf(evidence(NETCONF.argv, stdout))).toEqual({
    outcome: 'unknown',
    reason: expect.stringMatching(/^ip -j -4 netconf show: unreadable output \(.+\)$/),
  });
});
