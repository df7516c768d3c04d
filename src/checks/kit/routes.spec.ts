import { expect, test } from 'vitest';
import { evidence } from '../../../test/filter-evidence.ts';
import { ROUTES } from './readings.ts';
import { parseRoutes } from './routes.ts';

// iproute2 6.1.
const CAPTURED = `[{"dst":"default","gateway":"10.28.0.1","dev":"eth0","flags":[]},{"dst":"172.27.1.0/24","gateway":"172.27.1.0","dev":"flannel.1","flags":["onlink"]},{"type":"blackhole","dst":"172.27.9.0/24","metric":4096,"flags":[]},{"type":"local","dst":"10.28.87.60","dev":"eth0","table":"local","protocol":"kernel","scope":"host","prefsrc":"10.28.87.60","flags":[]}]
`;

test('reads routes of every kind and table', () => {
  expect(parseRoutes(evidence(ROUTES.argv, CAPTURED))).toEqual({
    outcome: 'ok',
    facts: [
      { type: 'unicast', dst: 'default', gateway: '10.28.0.1', dev: 'eth0', table: 'main', flags: [] },
      { type: 'unicast', dst: '172.27.1.0/24', gateway: '172.27.1.0', dev: 'flannel.1', table: 'main', flags: ['onlink'] },
      { type: 'blackhole', dst: '172.27.9.0/24', table: 'main', metric: 4096, flags: [] },
      { type: 'local', dst: '10.28.87.60', dev: 'eth0', table: 'local', flags: [] },
    ],
  });
});

test.for(['', '{}', '[{}]', CAPTURED.slice(0, 100)])('is unknown where no routes were printed: %j', (stdout) => {
  expect(parseRoutes(evidence(ROUTES.argv, stdout))).toEqual({
    outcome: 'unknown',
    reason: expect.stringMatching(/^ip -j route show table all: unreadable output \(.+\)$/),
  });
});
