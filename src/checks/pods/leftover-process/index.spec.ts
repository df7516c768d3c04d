import { expect, test } from 'vitest';
import { evaluated, findingsIn, readCase, withPod, withPodNamespace } from '../../../../test/fixtures.ts';
import { leftoverProcess } from './index.ts';

const inCase = (name: string) => readCase('pods/leftover-process', name);

test('every process belongs to its container', () => {
  expect(evaluated(leftoverProcess, inCase('healthy'))).toEqual({ findings: [], acquitted: [], gaps: [] });
});

test('a process of a container that nobody knows holds the port', () => {
  expect(evaluated(leftoverProcess, inCase('in-a-pod'))).toEqual({
    findings: [
      {
        check: 'leftover-process',
        layer: 'L4',
        severity: 'critical',
        certainty: 'certain',
        partial: false,
        evidence: [
          {
            where: 'node-2',
            source: '/proc/177/cgroup, stat, fd',
            text: 'PID 177 web (socat), started 2592278 ticks after boot, container 9175a8b9191c, TCP 0.0.0.0:8080 (web)',
          },
          { where: 'default/web-2', source: 'status.containerStatuses', text: 'web c0ffee00c0ff waiting CrashLoopBackOff' },
        ],
        code: 'leftover-process',
        entity: { kind: 'Pod', namespace: 'default', name: 'web-2' },
        at: [{ place: 'pod/default/web-2', point: 'socket' }],
        harms: [],
        summary:
          'web (PID 177, running for 18 s) listens on TCP 8080 in the pod default/web-2 on node-2 but belongs to none of its running containers; the container web cannot stay up (CrashLoopBackOff, 7 restarts)',
        advice:
          'If the log of web says "address already in use", end the process 177 on node-2; then find out why the runtime lost it (its log, zombies, disk).',
        remedy: { id: 'kill-process', node: 'node-2', params: { pid: '177', start: '2592278', comm: 'web' } },
      },
    ],
    acquitted: [],
    gaps: [],
  });
});

const WEB = '172.27.2.2';
const found = (bundle: ReturnType<typeof inCase>) => findingsIn(leftoverProcess, bundle).map(({ code }) => code);

function containerOf(bundle: ReturnType<typeof inCase>) {
  const container = bundle.inventory.pods.find(({ name }) => name === 'web-2')?.containers[0];
  if (container === undefined) throw new Error('web-2 has no container');
  return container;
}

/** The case with the process that listens changed. */
function withHolder(change: object) {
  return withPodNamespace(inCase('in-a-pod'), WEB, (namespace) => ({
    ...namespace,
    listeners: namespace.listeners.map((socket) => ({
      ...socket,
      holder: socket.holder === null ? null : { ...socket.holder, ...change },
    })),
  }));
}

test('a process of a container that runs, of another pod, of the sandbox or of none is none', () => {
  const bundle = inCase('in-a-pod');
  const running = { ...containerOf(bundle), name: 'other', state: 'running' as const, id: 'a'.repeat(64) };
  const beside = withPod(withHolder({ container: 'a'.repeat(64) }), 'web-2', { containers: [containerOf(bundle), running] });
  expect(found(beside)).toEqual([]);
  expect([{ uid: 'other' }, { container: null }, { comm: 'pause' }].map((change) => found(withHolder(change)))).toEqual([
    [],
    [],
    [],
  ]);
});

test('a process that is younger than the status may be is the next attempt', () => {
  expect([14, 15].map((ageS) => found(withHolder({ ageS })))).toEqual([[], ['leftover-process']]);
});

test('without a container that crashes nothing is held up', () => {
  const bundle = inCase('in-a-pod');
  const container = containerOf(bundle);
  const states = [
    { ...container, state: 'running' as const, reason: '' },
    { ...container, state: 'waiting' as const, reason: 'ContainerCreating', restarts: 0 },
    { ...container, state: 'terminated' as const, reason: 'Completed' },
    { ...container, state: 'terminated' as const, reason: 'Error' },
  ];
  expect(states.map((state) => found(withPod(bundle, 'web-2', { containers: [state] })))).toEqual([
    [],
    [],
    [],
    ['leftover-process'],
  ]);
  expect(found(withPod(bundle, 'web-2', { terminating: true }))).toEqual([]);
});

test.for([
  [119, '119 s'],
  [120, '2 min'],
  [50_400, '14 h'],
  [864_000, '10 days'],
] as const)('after %i seconds it says %s', ([ageS, text]) => {
  expect(findingsIn(leftoverProcess, withHolder({ ageS }))[0]?.summary).toContain(`running for ${text})`);
});
