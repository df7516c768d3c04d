import { z } from 'zod';
import type { Host } from '../remedy.ts';

const Links = z.array(z.object({ ifname: z.string(), flags: z.array(z.string()), mtu: z.int() }));

/** What remedies need to know of network devices. */
export const SHOW_LINKS = ['ip', '-j', 'link', 'show'] as const;

/** A network device of the node; null where there is none of that name. */
export async function readLink(device: string, host: Host): Promise<{ readonly isUp: boolean; readonly mtu: number } | null> {
  const links = Links.parse(JSON.parse(await host.run(SHOW_LINKS)));
  const link = links.find(({ ifname }) => ifname === device);
  return link === undefined ? null : { isUp: link.flags.includes('UP'), mtu: link.mtu };
}

/** The command that changes one thing of a device. */
export function setLink(device: string, ...change: readonly string[]): readonly string[] {
  return ['ip', 'link', 'set', 'dev', device, ...change];
}
