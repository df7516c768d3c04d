import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, said, withPodNamespace, withPodState, withReading } from '../../../../test/fixtures.ts';
import { acceptQueueOverflow } from './index.ts';

const inCase = (name: string) => readCase('pods/accept-queue-overflow', name);

test('no queue overflows', () => {
  expect(evaluated(acceptQueueOverflow, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a process that never accepts', () => {
  expect(evaluated(acceptQueueOverflow, inCase('never-accepts'))).toEqual({
    findings: [
      {
        check: 'accept-queue-overflow',
        layer: 'L4',
        severity: 'warning',
        certainty: 'suspect',
        partial: true,
        evidence: [
          {
            where: 'node-2',
            source: '/proc/17/net/netstat of default/web-2',
            text: 'TcpExt ListenOverflows 9, ListenDrops 9; ListenOverflows grew by 5',
          },
          {
            where: 'default/web-2',
            source: 'ss -H -lnt; net.core.somaxconn',
            text: 'LISTEN 0      128    0.0.0.0:8080 0.0.0.0:*\nLISTEN 3      2      0.0.0.0:8090 0.0.0.0:*; 2',
          },
        ],
        code: 'accept-queue-overflow',
        entity: { kind: 'Pod', namespace: 'default', name: 'web-2' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [{ proto: 'tcp', dst: '172.27.2.2', state: 'new' }],
        summary:
          '5 connections to the pod default/web-2 on node-2 found its accept queue full while this check ran: 0.0.0.0:8090 has 3 connections waiting, its backlog is 2',
        advice:
          'The backlog is cut at net.core.somaxconn, 2 in this pod. Raise it with securityContext.sysctls (net.core.somaxconn, which the kubelet has to allow), a privileged initContainer (sysctl -w net.core.somaxconn=4096) or the tuning CNI plugin, restart the pod, and see why the process does not accept.',
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const WEB = '172.27.2.2';

test('what overflowed before the run is history', () => {
  const before = withReading(
    inCase('never-accepts'),
    'pods: counters',
    said((stdout) => stdout.replace(/"overflows":[1-9]\d*/, '"overflows":99')),
    'node-2',
  );
  expect(findingsIn(acceptQueueOverflow, before)).toEqual([]);
});

test('one more is told; a namespace that has come since counts from zero', () => {
  const one = withPodNamespace(inCase('healthy'), WEB, (namespace) => ({ ...namespace, listening: { overflows: 1, drops: 1 } }));
  const since = withReading(one, 'pods: counters', (item) => ({ ...item, stdout: '{"counters":{},"cut":[]}' }), 'node-2');
  expect([one, since].map((bundle) => findingsIn(acceptQueueOverflow, bundle).map(({ summary }) => summary))).toEqual([
    ['1 connections to the pod default/web-2 on node-2 found its accept queue full while this check ran'],
    ['1 connections to the pod default/web-2 on node-2 found its accept queue full while this check ran'],
  ]);
});

test('a backlog that the process chose itself is not widened by somaxconn', () => {
  const own = withPodState(inCase('never-accepts'), (state) => ({
    ...state,
    backlogs: Object.fromEntries(
      Object.entries(state.backlogs).map(([netns, backlog]) => [netns, { ...backlog, somaxconn: 4096 }]),
    ),
  }));
  expect(findingsIn(acceptQueueOverflow, own).map(({ advice }) => advice)).toEqual([
    'The process does not accept fast enough: look at its CPU limit and throttling, its worker threads, and the backlog that it passes to listen().',
  ]);
});
