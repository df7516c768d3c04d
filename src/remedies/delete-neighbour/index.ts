import { z } from 'zod';
import { DeviceName } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

const Neighbours = z.array(
  z.object({
    dst: z.string(),
    lladdr: z.string().optional(),
    state: z.array(z.string()),
    router: z.null().optional(),
    extern_learn: z.null().optional(),
    protocol: z.string().optional(),
  }),
);

const Mac = z.string().regex(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/, 'not a MAC address');

const Params = z.strictObject({ dev: DeviceName, ip: z.union([z.ipv4(), z.ipv6()]), mac: Mac });

/** What somebody has set, null where nobody has: an entry that the kernel learns comes and goes. `options` are words of ip. */
const State = z.strictObject({ set: z.strictObject({ mac: Mac, options: z.array(z.string()) }).nullable() });

/** N10: deletes exactly the entry that somebody has set with the wrong MAC address; the kernel then asks for the right one. */
export const deleteNeighbour = defineRemedy({
  id: 'delete-neighbour',
  place: 'node',
  title: 'Delete the permanent neighbour entry',
  risk: 'The address is asked for by ARP with the next packet. Whoever set the entry may have meant it, against forged answers for example, and may set it again.',
  riskClass: 'low',
  undo: 'The entry is set again as it was: the same MAC address, permanent.',
  params: Params,
  state: State,
  commands: ({ dev, ip }) => [['ip', 'neighbour', 'delete', ip, 'dev', dev]],
  async read({ dev, ip }, host) {
    const text = await host.run(show(dev, ip));
    const entry = Neighbours.parse(JSON.parse(text.trim() || '[]')).find(({ dst }) => dst === ip);
    if (entry?.lladdr === undefined || !entry.state.includes('PERMANENT')) return { set: null };
    return {
      set: {
        mac: Mac.parse(entry.lladdr.toLowerCase()),
        options: [
          ...(entry.router === null ? ['router'] : []),
          ...(entry.extern_learn === null ? ['extern_learn'] : []),
          ...(entry.protocol === undefined ? [] : ['protocol', entry.protocol]),
        ],
      },
    };
  },
  obsolete({ ip, mac }, { set }) {
    if (set === null) return `there is no permanent entry for ${ip} any more`;
    return set.mac === mac ? null : `the entry for ${ip} has the MAC address ${set.mac} by now, not ${mac}`;
  },
  describe: ({ dev, ip }, { set }) => [
    {
      source: show(dev, ip).join(' '),
      text: set === null ? `no permanent entry for ${ip}` : `${ip} lladdr ${set.mac} PERMANENT`,
    },
  ],
  undoCommands: ({ dev, ip }, prior, after) =>
    prior.set === null || after.set !== null
      ? []
      : [['ip', 'neighbour', 'replace', ip, 'lladdr', prior.set.mac, 'dev', dev, 'nud', 'permanent', ...prior.set.options]],
});

function show(dev: string, ip: string): readonly string[] {
  return ['ip', '-j', 'neighbour', 'show', 'to', ip, 'dev', dev];
}
