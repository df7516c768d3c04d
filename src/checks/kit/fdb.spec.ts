import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { parseFdb } from './fdb.ts';
import { FDB } from './readings.ts';

// bridge of iproute2 6.1.
const CAPTURED = `[{"mac":"33:33:00:00:00:01","ifname":"eth0","flags":["self"],"state":"permanent"},{"mac":"0A:58:AC:1B:02:01","ifname":"cni0","flags":[],"master":"cni0","state":"permanent"},{"mac":"0e:d6:0c:b9:3f:01","ifname":"flannel.1","dst":"10.28.87.61","flags":["self"],"state":"permanent"},{"mac":"0a:58:ac:1b:02:04","ifname":"veth99d46a8e","flags":[],"master":"cni0","state":""}]
`;

test('reads entries of devices, bridges and tunnels', () => {
  expect(parseFdb(evidence(FDB.argv, CAPTURED))).toEqual({
    outcome: 'ok',
    facts: [
      { mac: '33:33:00:00:00:01', dev: 'eth0', dst: null },
      { mac: '0a:58:ac:1b:02:01', dev: 'cni0', dst: null },
      { mac: '0e:d6:0c:b9:3f:01', dev: 'flannel.1', dst: '10.28.87.61' },
      { mac: '0a:58:ac:1b:02:04', dev: 'veth99d46a8e', dst: null },
    ],
  });
});

test.for(['', '{}', '[{}]', CAPTURED.slice(0, 100)])('is unknown where no entries were printed: %j', (stdout) => {
  expect(parseFdb(evidence(FDB.argv, stdout))).toEqual({
    outcome: 'unknown',
    reason: expect.stringMatching(/^bridge -j fdb show: unreadable output \(.+\)$/),
  });
});
