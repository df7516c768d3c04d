import { z } from 'zod';
import { DeviceName } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

const Neighbours = z.array(z.object({ dst: z.string(), lladdr: z.string().optional(), state: z.array(z.string()) }));

const Params = z.strictObject({
  dev: DeviceName,
  ip: z.union([z.ipv4(), z.ipv6()]),
  mac: z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, 'not a MAC address'),
});

/** N10: flushes exactly the neighbour entry that has the stale MAC address; the next packet resolves it again. */
export const flushNeighbour = defineRemedy({
  id: 'flush-neighbour',
  place: 'node',
  title: 'Flush the stale neighbour entry',
  risk: 'The entry is asked for again by ARP with the next packet; packets to this one address wait for the answer, usually less than a millisecond.',
  riskClass: 'low',
  undo: null,
  irreversible: 'A neighbour entry that was wrong is not worth bringing back; the kernel learns the right one by itself.',
  params: Params,
  state: z.strictObject({ mac: z.string().nullable(), state: z.string().nullable() }),
  commands: ({ dev, ip }) => [['ip', 'neighbour', 'flush', 'to', ip, 'dev', dev]],
  async read({ dev, ip }, host) {
    const text = await host.run(show(dev, ip));
    const entry = Neighbours.parse(JSON.parse(text.trim() || '[]')).find(({ dst }) => dst === ip);
    return { mac: entry?.lladdr?.toLowerCase() ?? null, state: entry?.state[0] ?? null };
  },
  obsolete({ ip, mac }, state) {
    if (state.mac === null) return `there is no entry for ${ip} any more`;
    if (state.mac !== mac) return `the entry for ${ip} has the MAC address ${state.mac} by now, not ${mac}`;
    return state.state === 'PERMANENT' ? `the entry for ${ip} is permanent: flushing does not touch it` : null;
  },
  describe: ({ dev, ip }, { mac, state }) => [
    { source: show(dev, ip).join(' '), text: mac === null ? `no entry for ${ip}` : `${ip} lladdr ${mac} ${state}` },
  ],
  undoCommands: () => [],
});

function show(dev: string, ip: string): readonly string[] {
  return ['ip', '-j', 'neighbour', 'show', 'to', ip, 'dev', dev];
}
