import { z } from 'zod';
import { type SysctlState, sysctlRemedy } from '../kit/sysctl.ts';
import type { Remedy } from '../remedy.ts';

const KEY = 'net/bridge/bridge-nf-call-iptables';
const MODULE = 'br_netfilter';

/** `load` where the module was missing when the finding was made. */
const Params = z.strictObject({ load: z.literal(MODULE).optional() });
type Params = z.output<typeof Params>;

const setting = sysctlRemedy<Params>({
  id: 'set-bridge-netfilter',
  title: 'Show bridged frames to iptables',
  risk: 'Frames of every bridge of the node then cross its iptables rules, also between containers and virtual machines that are not of Kubernetes: what the rules drop is dropped there, too. Where the module has to be loaded, ip6tables and arptables see them as well.',
  riskClass: 'medium',
  params: Params,
  values: () => ({ [KEY]: '1' }),
  obsolete({ load }, values) {
    const value = values[KEY] ?? null;
    if (value === '1') return 'iptables sees the frames by now';
    return value === null && load === undefined ? `${MODULE} has been unloaded since: check again` : null;
  },
});

/** N19: shows bridged frames to iptables, and loads the module for it where it is not there. */
export const setBridgeNetfilter: Remedy<Params, SysctlState> = {
  ...setting,
  // Loaded by the host's own program: its modules lie in the host's file system.
  commands: (params) => [...(params.load === undefined ? [] : [modprobe(params.load)]), ...setting.commands(params)],
  undoCommands: (params, prior, after) =>
    prior.values[KEY] === null && after.values[KEY] !== null
      ? [modprobe('-r', MODULE)]
      : setting.undoCommands(params, prior, after),
};

function modprobe(...args: readonly string[]): readonly string[] {
  return ['nsenter', '--target', '1', '--mount', '--', 'modprobe', ...args];
}
