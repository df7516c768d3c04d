import { z } from 'zod';
import { readLink, SHOW_LINKS, setLink } from '../kit/link.ts';
import { DeviceName, wholeNumber } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

const Mtu = wholeNumber(576, 65_535);

/** N14: gives a device another MTU than it was found with. */
export const setMtu = defineRemedy({
  id: 'set-mtu',
  place: 'node',
  title: 'Change the MTU',
  risk: 'Some drivers restart the device for it: connections stall for some seconds, and an MTU that the network between the nodes cannot carry loses every large packet. Where several nodes are found to have the same, it helps once all of them are mended.',
  riskClass: 'high',
  undo: 'The device gets back the MTU that it had.',
  isTransient: true,
  params: z.strictObject({ device: DeviceName, from: Mtu, mtu: Mtu }),
  state: z.strictObject({ mtu: z.int().nullable() }),
  commands: ({ device, mtu }) => [setLink(device, 'mtu', mtu)],
  read: async ({ device }, host) => ({ mtu: (await readLink(device, host))?.mtu ?? null }),
  obsolete({ device, from }, { mtu }) {
    if (mtu === null) return `there is no device ${device} any more`;
    return mtu === Number(from) ? null : `the MTU of ${device} is ${mtu} by now, not ${from}`;
  },
  describe: ({ device }, { mtu }) => [
    { source: SHOW_LINKS.join(' '), text: mtu === null ? `no device ${device}` : `${device} mtu ${mtu}` },
  ],
  undoCommands: ({ device }, prior, after) =>
    prior.mtu === null || prior.mtu === after.mtu ? [] : [setLink(device, 'mtu', String(prior.mtu))],
});
