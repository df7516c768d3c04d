import { z } from 'zod';
import { defineRemedy } from '../remedy.ts';

const Device = z.string().regex(/^[A-Za-z0-9_.:@-]{1,15}$/, 'not the name of a network device');
const Netconf = z.array(z.object({ interface: z.string(), forwarding: z.boolean() }));
const READ = ['ip', '-j', '-4', 'netconf', 'show'] as const;

/**
 * N1: switches forwarding on at run time. Writing net.ipv4.ip_forward changes every device's own value, which is why the
 * prior state holds all of them. Never `sysctl --system`: it would change every other setting too.
 */
export const setIpForward = defineRemedy({
  id: 'set-ip-forward',
  title: 'Switch IP forwarding on',
  risk: 'Every device of the node forwards from then on, also those that had it off before. It lasts until the next boot or until the file that switched it off is loaded again.',
  undo: 'Every device gets back the value that it had.',
  params: z.strictObject({ device: Device }),
  state: z.record(z.string(), z.boolean()),
  commands: ({ device }) => [['sysctl', '-w', assignment(device, true)]],
  async read(_params, host) {
    const devices = Netconf.parse(JSON.parse(await host.run(READ)));
    return Object.fromEntries(devices.map((device) => [device.interface, device.forwarding]));
  },
  obsolete({ device }, state) {
    if (state[device] === undefined) return `there is no device ${device} any more`;
    return state[device] ? `forwarding is on already (${device === 'all' ? 'net.ipv4.ip_forward' : device})` : null;
  },
  describe: (_params, state) => [
    {
      source: READ.join(' '),
      text: Object.entries(state)
        .map(([device, isOn]) => `${device}: forwarding ${isOn ? 'on' : 'off'}`)
        .join(', '),
    },
  ],
  // `all` first: writing it changes the others.
  undoCommands: ({ device }, prior) =>
    device === 'all'
      ? Object.entries(prior)
          .sort(([a], [b]) => Number(b === 'all') - Number(a === 'all'))
          .map(([name, isOn]) => ['sysctl', '-w', assignment(name, isOn)])
      : [['sysctl', '-w', assignment(device, prior[device] ?? false)]],
});

/** With slashes, so that a device's own dots stay part of its name. */
function assignment(device: string, isOn: boolean): string {
  const key = device === 'all' ? 'net/ipv4/ip_forward' : `net/ipv4/conf/${device}/forwarding`;
  return `${key}=${isOn ? 1 : 0}`;
}
