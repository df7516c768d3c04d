import { z } from 'zod';
import { DeviceName } from '../kit/params.ts';
import { setting } from '../kit/sysctl.ts';
import { defineRemedy } from '../remedy.ts';

const Netconf = z.array(z.object({ interface: z.string(), forwarding: z.boolean() }));
const READ = ['ip', '-j', '-4', 'netconf', 'show'] as const;

/**
 * N1: switches forwarding on at run time. Writing net.ipv4.ip_forward changes every device's own value, which is why the
 * prior state holds all of them. Never `sysctl --system`: it would change every other setting too.
 */
export const setIpForward = defineRemedy({
  id: 'set-ip-forward',
  place: 'node',
  title: 'Enable IP forwarding',
  risk: 'Every device of the node forwards from then on, also those that had it off before.',
  riskClass: 'medium',
  isTransient: true,
  undo: 'Every device gets back the value that it had, by commands that the thread shows afterwards.',
  params: z.strictObject({ device: DeviceName }),
  state: z.record(z.string(), z.boolean()),
  commands: ({ device }) => [forwarding(device, true)],
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
      text: [true, false].flatMap((isOn) => devicesWith(state, isOn)).join('; '),
    },
  ],
  // `all` first: writing it changes the others.
  undoCommands: ({ device }, prior) =>
    device === 'all'
      ? Object.entries(prior)
          .sort(([a], [b]) => Number(b === 'all') - Number(a === 'all'))
          .map(([name, isOn]) => forwarding(name, isOn))
      : [forwarding(device, prior[device] ?? false)],
});

/** `forwarding off: all, cni0, eth0`, or nothing where no device is so. */
function devicesWith(state: Readonly<Record<string, boolean>>, isOn: boolean): readonly string[] {
  const devices = Object.keys(state)
    .filter((device) => state[device] === isOn)
    .sort((a, b) => Number(b === 'all') - Number(a === 'all') || (a < b ? -1 : 1));
  return devices.length === 0 ? [] : [`forwarding ${isOn ? 'on' : 'off'}: ${devices.join(', ')}`];
}

function forwarding(device: string, isOn: boolean): readonly string[] {
  return setting(device === 'all' ? 'net/ipv4/ip_forward' : `net/ipv4/conf/${device}/forwarding`, isOn ? '1' : '0');
}
