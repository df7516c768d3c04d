import { z } from 'zod';
import { DeviceName } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

const FEATURE = 'tx-checksum-ip-generic';

/** F4: has the kernel compute the checksums of what a device sends. Others that build on it go with it, and come back. */
export const disableTxChecksum = defineRemedy({
  id: 'disable-tx-checksum',
  place: 'node',
  title: 'Compute checksums in the kernel',
  risk: 'Sending through the device takes more of the processors, and segmentation in the network card goes off with it. It lasts until the device is made anew, by flannel or at the next boot.',
  riskClass: 'medium',
  undo: 'The offload is switched on again.',
  params: z.strictObject({ device: DeviceName }),
  // Every feature, as ethtool says it: those that depend on this one change with it.
  state: z.record(z.string(), z.string()),
  commands: ({ device }) => [['ethtool', '-K', device, FEATURE, 'off']],
  async read({ device }, host) {
    const text = await host.run(['ethtool', '-k', device]);
    const lines = [...text.matchAll(/^\s*([a-z0-9-]+): (\S.*)$/gm)];
    const features = Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value.trim()]));
    if (features[FEATURE] === undefined) throw new Error(`ethtool says nothing of ${FEATURE} of ${device}`);
    return features;
  },
  obsolete({ device }, { [FEATURE]: value = '' }) {
    if (value === 'on') return null;
    return `${FEATURE} of ${device} is ${value} by now`;
  },
  describe: ({ device }, { [FEATURE]: value = '' }) => [{ source: `ethtool -k ${device}`, text: `${FEATURE}: ${value}` }],
  undoCommands: ({ device }, prior, after) =>
    prior[FEATURE] === 'on' && after[FEATURE] !== 'on' ? [['ethtool', '-K', device, FEATURE, 'on']] : [],
});
