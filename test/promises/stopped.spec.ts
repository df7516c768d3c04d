import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createKubernetesCluster, type KubernetesCluster } from '../../src/cluster/kubernetes/index.ts';
import { createDiagnose } from '../../src/diagnosis/diagnose.ts';
import { createRandom } from '../chaos/random.ts';
import { temporaryFolder } from '../folder.ts';
import { agentBundle } from '../lab/agent.ts';
import { ADMIN_TOKEN, createSmallCluster, type SmallCluster } from '../lab/api/small-cluster.ts';
import { buttonsOf } from '../slack.ts';
import { until } from '../until.ts';
import { createWorld, type World } from '../world.ts';
import { count, proves } from './counts.ts';

/*
 * The whole way from the button to the last process on a node: a real bot and worker, the real client, real agents with
 * real commands, each in a network of its own in which nothing answers. What they start carries a mark in its environment.
 */

const NODES = 3;
const WITHIN_MS = 5_000;
const mark = `NETCHECK_MARK=${randomUUID()}`;
const folder = temporaryFolder();

let small: SmallCluster;
let cluster: KubernetesCluster;

/** The commands that are running on the nodes, agents included. */
function running(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const isMarked = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark);
        return isMarked ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()] : [];
      } catch {
        // It has ended in the meantime, or is somebody else's.
        return [];
      }
    })
    .filter((command) => command !== '');
}

describe.skipIf(process.env['NETCHECK_LAB_MISSING'])('on the nodes', () => {
  beforeAll(async () => {
    const agent = await agentBundle();
    const network =
      'ip link set lo up; ip link add d0 type dummy; ip address add 10.28.0.250/16 dev d0; ip link set d0 up; ip route add default dev d0';
    const isolated = ['unshare', '--user', '--map-root-user', '--net', 'env', mark, 'sh', '-c', `${network}; exec "$0" "$@"`];
    small = await createSmallCluster({
      nodes: NODES,
      command: ([, ...args]) => [...isolated, process.execPath, agent, ...args],
    });
    const kubeconfig = join(folder, 'config');
    writeFileSync(kubeconfig, small.api.kubeconfig(ADMIN_TOKEN));
    const created = createKubernetesCluster({ kubeconfig, name: 'lab', log: { debug: () => {} } });
    if (!created.ok) throw new Error(created.fault.message);
    cluster = created.value;
  });

  afterAll(async () => {
    await cluster?.close();
    await small?.close();
  });

  async function diagnosing(): Promise<World> {
    const world = await createWorld({ config: () => ({ limits: { runsPerUser: 9_999, runsPerCluster: 9_999 } }) });
    const diagnose = createDiagnose({ cluster, version: '0.0.0', clock: Date.now });
    await world.worker(async (request, options) => {
      const result = await diagnose(request, options);
      return result.ok ? result.value : { refusal: result.error.message };
    });
    return world;
  }

  const cancels = count(2, 100);
  test('a run that is cancelled leaves no process on any node after five seconds', {
    timeout: 120_000 + cancels * 20_000,
  }, async ({ task }) => {
    const world = await diagnosing();
    const random = createRandom(12);
    let [most, longest, cancelled] = [0, 0, 0];
    try {
      const hands = await world.bot();
      for (let tries = 0; cancelled < cancels; tries += 1) {
        // Some runs are over before the button is pressed: those are no cancellations.
        expect(tries).toBeLessThan(3 * cancels);
        const known = new Set((await world.slack.messages('incidents')).map(({ ts }) => ts));
        await hands.command('cluster', { user: 'ann', channel: 'incidents' });
        await until(() => running().length >= NODES, 'the agents', 60_000);
        const root = await until(
          async () => (await world.slack.messages('incidents')).find(({ ts }) => !known.has(ts)),
          'the message of the run',
          60_000,
        );
        const [cancel] = buttonsOf(root);
        if (cancel === undefined) throw new Error('no Cancel button');
        const end = performance.now() + random() * 2_000;
        while (performance.now() < end) {
          most = Math.max(most, running().length);
          await delay(20);
        }
        await (await hands.click(cancel, { user: 'ann', channel: 'incidents' })).said();
        const from = performance.now();
        await until(() => running().length === 0, 'the last process on a node to end', WITHIN_MS);
        longest = Math.max(longest, performance.now() - from);
        const ended = await until(
          async () =>
            (await world.slack.messages('incidents')).find(
              (message) => message.ts === root.ts && !buttonsOf(message).some(({ value }) => value === cancel.value),
            ),
          'the end of the run',
          60_000,
        );
        if (ended.text.startsWith('Cancelled')) cancelled += 1;
      }
      expect(most).toBeGreaterThanOrEqual(NODES);
      proves(
        task,
        12,
        `${cancelled} runs cancelled with up to ${most} processes on ${NODES} nodes, the last gone after ${Math.round(longest)} ms`,
      );
    } finally {
      await world.close();
    }
  });

  const drops = count(3, 300);
  test('a run that loses its connections ends, says so, and leaves no process on any node', {
    timeout: 120_000 + drops * 30_000,
  }, async ({ task }) => {
    const random = createRandom(6);
    const diagnose = createDiagnose({ cluster, version: '0.0.0', clock: Date.now });
    const kinds = ['drop', 'hang-before-open', 'hang-after-open', 'close-without-status'] as const;
    for (let time = 0; time < drops; time += 1) {
      const kind = kinds[time % kinds.length] ?? 'drop';
      const fault = kind === 'drop' ? { kind, afterBytes: Math.floor(random() * 20_000) } : { kind };
      small.api.setFaults({ exec: [fault] });
      const result = await diagnose(
        { kind: 'cluster' },
        { runId: `r${time}`, signal: AbortSignal.timeout(60_000), onProgress: () => undefined },
      );
      expect(result.ok && result.value.verdict.status).not.toBe('healthy');
      await until(() => running().length === 0, `the last process on a node to end (${kind})`, WITHIN_MS);
    }
    small.api.setFaults({});
    proves(task, 6, `${drops} runs with lost or hanging connections, none healthy, no process left after 5 s`);
  });
});
