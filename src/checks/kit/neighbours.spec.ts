import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { parseNeighbours } from './neighbours.ts';
import { NEIGHBOURS } from './readings.ts';

// iproute2 6.1.
const CAPTURED = `[{"dst":"10.28.87.61","dev":"eth0","lladdr":"02:00:0A:1C:DE:AD","refcnt":1,"used":2,"confirmed":1,"updated":1,"probes":4,"state":["REACHABLE"]},{"dst":"172.27.3.0","dev":"flannel.1","lladdr":"0e:d6:0c:b9:3f:01","used":2,"confirmed":2,"updated":3,"probes":0,"state":["PERMANENT"]},{"dst":"172.27.1.0","dev":"flannel.1","refcnt":1,"used":1,"confirmed":61,"updated":0,"probes":3,"state":["INCOMPLETE"]},{"dst":"fe80::1","dev":"eth0","lladdr":"02:00:0a:1c:00:01","router":null,"used":9,"confirmed":9,"updated":9,"probes":1,"state":["STALE"]},{"dst":"10.28.9.9","dev":"eth0","used":9,"confirmed":9,"updated":9,"probes":6,"state":["FAILED"]}]
`;

test('reads every entry: resolved, permanent, asked for, given up', () => {
  expect(parseNeighbours(evidence(NEIGHBOURS.argv, CAPTURED))).toEqual({
    outcome: 'ok',
    facts: [
      { ip: '10.28.87.61', dev: 'eth0', mac: '02:00:0a:1c:de:ad', state: 'REACHABLE' },
      { ip: '172.27.3.0', dev: 'flannel.1', mac: '0e:d6:0c:b9:3f:01', state: 'PERMANENT' },
      { ip: '172.27.1.0', dev: 'flannel.1', mac: null, state: 'INCOMPLETE' },
      { ip: 'fe80::1', dev: 'eth0', mac: '02:00:0a:1c:00:01', state: 'STALE' },
      { ip: '10.28.9.9', dev: 'eth0', mac: null, state: 'FAILED' },
    ],
  });
});

test('an empty table is printed as one', () => {
  expect(parseNeighbours(evidence(NEIGHBOURS.argv, '[]\n'))).toEqual({ outcome: 'ok', facts: [] });
});

test.for(['', '{}', '[{}]', CAPTURED.slice(0, 200)])('is unknown where no table was printed: %j', (stdout) => {
  expect(parseNeighbours(evidence(NEIGHBOURS.argv, stdout))).toEqual({
    outcome: 'unknown',
    reason: expect.stringMatching(/^ip -j -s neighbour show: unreadable output \(.+\)$/),
  });
});
