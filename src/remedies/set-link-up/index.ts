import { z } from 'zod';
import { readLink, SHOW_LINKS, setLink } from '../kit/link.ts';
import { DeviceName } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

/** P1, N13: sets a device up that somebody has set down. */
export const setLinkUp = defineRemedy({
  id: 'set-link-up',
  place: 'node',
  title: 'Set the network device up',
  risk: 'What set it down can do so again. Routes that went with it come back where the kernel or the configuration of the node makes them, and not where they were set by hand.',
  riskClass: 'medium',
  undo: 'The device is set down again, and everything behind it is cut off again.',
  params: z.strictObject({ device: DeviceName }),
  state: z.strictObject({ isUp: z.boolean().nullable() }),
  commands: ({ device }) => [setLink(device, 'up')],
  read: async ({ device }, host) => ({ isUp: (await readLink(device, host))?.isUp ?? null }),
  obsolete({ device }, { isUp }) {
    if (isUp === null) return `there is no device ${device} any more`;
    return isUp ? `${device} is up already` : null;
  },
  describe: ({ device }, { isUp }) => [
    { source: SHOW_LINKS.join(' '), text: isUp === null ? `no device ${device}` : `${device}: ${isUp ? 'UP' : 'no flag UP'}` },
  ],
  undoCommands: ({ device }, prior, after) => (prior.isUp === false && after.isUp === true ? [setLink(device, 'down')] : []),
});
