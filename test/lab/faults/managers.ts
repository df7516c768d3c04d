import { type Fault, failedBy } from './fault.ts';
import { expectPackets, ping } from './packets.ts';

/*
 * Network managers that take away what others have set. They cannot run here; a process of their name does, with the
 * configuration that makes them do it, and the route is gone as after their start.
 */

function managerFault(name: string, title: string, code: string, program: string, setUp: string, cleanUp: string): Fault {
  return {
    name,
    row: 'N22',
    title,
    placement: 'pair',
    async inject(lab, at) {
      const { podCIDR } = lab.node(at.peer);
      const route = (await lab.sh(at.node, `ip route show ${podCIDR}`)).trim();
      const pid = await lab.sh(
        at.node,
        `${setUp}\nip route del ${podCIDR}\n${program} infinity </dev/null >/dev/null 2>&1 &\necho $!`,
      );
      return { pid: pid.trim(), route };
    },
    prove: (lab, at) =>
      expectPackets(lab, {
        pass: [ping(at.node, lab.node(at.peer).ip)],
        fail: [ping(at.node, lab.node(at.peer).bridgeIp), ping(at.peer, lab.node(at.node).bridgeIp)],
      }),
    async heal(lab, at, saved) {
      await lab.sh(at.node, `kill ${saved['pid']}\n${cleanUp}\nip route add ${saved['route']}`);
    },
    expects: (_lab, at) => failedBy('flannel-route-wrong', 'L3', at, { nodes: [at.node, at.peer], risks: [code] }),
  };
}

export const networkManagerTookRoute = managerFault(
  'networkmanager-took-route',
  "the route to a peer's pods is gone from a node on which NetworkManager manages all devices",
  'networkmanager-manages-pod-devices',
  'NetworkManager',
  // As it is installed: it manages everything that it has not been told to leave alone.
  '',
  '',
);

export const networkdTookRoute = managerFault(
  'networkd-took-route',
  "the route to a peer's pods is gone from a node on which a network of systemd-networkd covers all devices",
  'networkd-manages-pod-devices',
  'systemd-networkd',
  `mkdir -p /run/systemd/network
printf '[Match]\\nName=*\\n\\n[Network]\\nDHCP=yes\\n' > /run/systemd/network/90-all.network`,
  'rm -r /run/systemd',
);
