import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AgentConnection, Cluster } from '../../src/cluster/port.ts';
import { Inventory } from '../../src/model/inventory.ts';

/** What can go wrong between a worker and an agent. */
export const AGENT_FAULTS = [
  'api-unreachable',
  'forbidden',
  'missing-agent',
  'not-installed',
  'kubelet-unreachable',
  'hang-before-open',
  'hang-after-open',
  'drop-before-output',
  'drop-mid-stream',
  'close-without-status',
  'exit-nonzero',
] as const;
export type AgentFaultName = (typeof AGENT_FAULTS)[number];

/**
 * A cluster for one test. The agent of `node` speaks first. `leftovers` counts the connections and processes that are
 * still there on the other side.
 */
export type PortUnderTest = {
  readonly cluster: Cluster;
  readonly node: string;
  readonly leftovers: () => Promise<number>;
  readonly close: () => Promise<void>;
};

/**
 * A cluster that carries bytes, whatever they are: the agent of `node` says `ready\n` and then sends back whatever it
 * receives. `inject` makes a fault for that agent.
 */
export type ClusterUnderTest = PortUnderTest & {
  readonly inject: (fault: AgentFaultName) => void | Promise<void>;
  /** Makes the agent write so many bytes after `ready\n` and end. */
  readonly makeTalkative: (bytes: number) => void;
  /** Makes the agent read nothing. */
  readonly makeDeaf: () => void;
};

/** How each fault shows: when opening, or at the end of the connection, and as what. */
const SHOWS: Readonly<Record<AgentFaultName, readonly ['opening' | 'end', string, RegExp]>> = {
  'api-unreachable': ['opening', 'unreachable', /cannot be reached/],
  forbidden: ['opening', 'forbidden', /is forbidden/],
  'missing-agent': ['opening', 'no-agent', /no pod|not found/],
  'not-installed': ['opening', 'no-agent', /ended with status 127: netcheck-agent: not found/],
  'kubelet-unreachable': ['opening', 'unreachable', /cannot reach the kubelet of .*connection refused/],
  'hang-before-open': ['opening', 'timeout', /the API server did not answer/],
  'hang-after-open': ['opening', 'timeout', /accepted the exec, but the agent said nothing/],
  'drop-before-output': ['opening', 'dropped', /closed \(1006\)/],
  'drop-mid-stream': ['end', 'dropped', /closed \(1006\)/],
  'close-without-status': ['end', 'dropped', /closed \(1000\) before it ended/],
  'exit-nonzero': ['end', 'dropped', /ended with status 7: broken/],
};

/** A deadline that is far away: what ends by it hangs. */
const later = (): AbortSignal => AbortSignal.timeout(20_000);

async function openAgent({ cluster, node }: PortUnderTest, signal = later()): Promise<AgentConnection> {
  const opened = await cluster.openAgent(node, signal);
  if (!opened.ok) throw new Error(opened.fault.message);
  return opened.value;
}

async function nothingIsLeft(under: PortUnderTest): Promise<void> {
  await expect.poll(() => under.leftovers(), { timeout: 10_000 }).toBe(0);
}

/** What every adapter of the cluster port keeps to, whatever its agents say. `make` builds a fresh cluster for each test. */
export function describePort(name: string, make: () => Promise<PortUnderTest>): void {
  describe(`${name} keeps to the cluster port`, () => {
    let under: PortUnderTest;

    beforeEach(async () => {
      under = await make();
    });

    afterEach(async () => {
      await under.cluster.close();
      await under.close();
    });

    test('the inventory is one of the model, names the cluster and has the node', async () => {
      const inventory = await under.cluster.inventory(later());
      const read = Inventory.parse(inventory.ok ? inventory.value : inventory);
      expect([read.cluster, read.gaps]).toEqual([under.cluster.name, []]);
      expect(read.nodes.map((node) => node.name)).toContain(under.node);
    });

    test('an inventory that nobody waits for any more is a fault, not an exception', async () => {
      expect(await under.cluster.inventory(AbortSignal.abort())).toMatchObject({ ok: false, fault: { kind: 'timeout' } });
    });

    test('whoever stops reading has ended the connection', async () => {
      const agent = await openAgent(under);
      for await (const _chunk of agent.output) break;
      expect(await agent.ended).toMatchObject({ kind: 'cancelled' });
      await nothingIsLeft(under);
    });

    test('closing the cluster ends its agents', async () => {
      const agent = await openAgent(under);
      await under.cluster.close();
      expect(await agent.ended).toMatchObject({ kind: 'cancelled' });
      await nothingIsLeft(under);
    });

    test('a node that does not exist has no agent', async () => {
      const opened = await under.cluster.openAgent('node-nowhere', later());
      expect(opened).toMatchObject({ ok: false, fault: { kind: 'no-agent', message: expect.stringContaining('node-nowhere') } });
    });

    test('opening that is cancelled is a fault, not an exception', async () => {
      await under.cluster.inventory(later());
      expect(await under.cluster.openAgent(under.node, AbortSignal.abort())).toMatchObject({
        ok: false,
        fault: { kind: 'cancelled' },
      });
      await nothingIsLeft(under);
    });
  });
}

/** What every adapter keeps to that reaches agents over a network: all of the port, and the bytes as they are. */
export function describeCluster(name: string, make: () => Promise<ClusterUnderTest>): void {
  describePort(name, make);

  describe(`${name} carries what agents and workers say`, () => {
    let under: ClusterUnderTest;

    beforeEach(async () => {
      under = await make();
    });

    afterEach(async () => {
      await under.cluster.close();
      await under.close();
    });

    test('an agent talks both ways until it is closed, once', async () => {
      const agent = await openAgent(under);
      const output = reader(agent);
      expect(await output.take('ready\n'.length)).toBe('ready\n');
      agent.write(Buffer.from('hello'));
      expect(await output.take(5)).toBe('hello');
      agent.close();
      agent.close();
      expect(await agent.ended).toMatchObject({ kind: 'cancelled' });
      expect(await output.rest()).toBe('');
      agent.write(Buffer.from('into the void'));
      await nothingIsLeft(under);
    });

    test('large messages arrive whole in both directions', async () => {
      const agent = await openAgent(under);
      const output = reader(agent);
      await output.take('ready\n'.length);
      const text = 'abcdefgh'.repeat((3 << 20) / 8);
      agent.write(Buffer.from(text));
      expect((await output.take(text.length)) === text).toBe(true);
      agent.close();
      await nothingIsLeft(under);
    });

    test('an agent that ends cleanly ends its output, without a fault', async () => {
      under.makeTalkative(10);
      const agent = await openAgent(under);
      expect(await reader(agent).rest()).toHaveLength('ready\n'.length + 10);
      expect(await agent.ended).toBeNull();
      await nothingIsLeft(under);
    });

    test('output that nobody reads waits on the other side', async () => {
      const bytes = 64 << 20;
      under.makeTalkative(bytes);
      const unread = await openAgent(under);
      const one = await under.leftovers();
      // As much again, begun later, is read to its end: by then the first had the time to arrive, if it could.
      expect(await reader(await openAgent(under)).count()).toBe('ready\n'.length + bytes);
      await expect.poll(() => under.leftovers(), { timeout: 10_000 }).toBe(one);
      expect(await reader(unread).count()).toBe('ready\n'.length + bytes);
      expect(await unread.ended).toBeNull();
      await nothingIsLeft(under);
    }, 60_000);

    test('an agent that takes no input is given up before the input fills the memory', async () => {
      under.makeDeaf();
      const agent = await openAgent(under);
      const chunk = Buffer.alloc(1 << 20);
      const ended = agent.ended.then(() => true);
      for (let written = 0; written < 256; written += 1) {
        agent.write(chunk);
        if (await Promise.race([ended, setImmediate(false)])) break;
      }
      expect(await agent.ended).toMatchObject({ kind: 'dropped', message: expect.stringContaining('does not take its input') });
    }, 60_000);

    test('once the agent talks, the signal that it was opened with has no effect', async () => {
      const opening = new AbortController();
      const agent = await openAgent(under, opening.signal);
      opening.abort();
      agent.write(Buffer.from('still there'));
      expect(await reader(agent).take('ready\nstill there'.length)).toBe('ready\nstill there');
      agent.close();
      await nothingIsLeft(under);
    });

    test.each(AGENT_FAULTS)('the fault %s ends as what it is, and leaves nothing behind', async (injected) => {
      await under.cluster.inventory(later());
      await under.inject(injected);
      const [when, kind, message] = SHOWS[injected];
      const deadline = injected.startsWith('hang') ? AbortSignal.timeout(300) : later();
      const opened = await under.cluster.openAgent(under.node, deadline);
      expect(opened.ok ? 'end' : 'opening').toBe(when);
      if (opened.ok) {
        opened.value.write(Buffer.from('hello'));
        await reader(opened.value).rest();
      }
      const fault = opened.ok ? await opened.value.ended : opened.fault;
      expect(fault).toEqual({ kind, message: expect.stringMatching(message) });
      await nothingIsLeft(under);
    });
  });
}

type Reader = {
  readonly take: (length: number) => Promise<string>;
  readonly rest: () => Promise<string>;
  /** How many bytes are left to the end. */
  readonly count: () => Promise<number>;
};

/** Reads a connection's output as text. */
function reader(agent: AgentConnection): Reader {
  const chunks = agent.output[Symbol.asyncIterator]();
  let kept = Buffer.alloc(0);

  async function take(length: number): Promise<string> {
    const parts = [kept];
    let size = kept.length;
    while (size < length) {
      const { done, value } = await chunks.next();
      if (done === true) break;
      parts.push(Buffer.from(value));
      size += value.length;
    }
    const all = Buffer.concat(parts);
    kept = all.subarray(length);
    return all.subarray(0, length).toString();
  }

  return {
    take,
    rest: () => take(Number.POSITIVE_INFINITY),
    async count() {
      let size = kept.length;
      for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) size += next.value.length;
      return size;
    },
  };
}
