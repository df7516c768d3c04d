import type { Handle } from '../handle.ts';
import { type At, type Fault, failedBy } from './fault.ts';
import { expectPackets, ping } from './packets.ts';
import { podIp } from './where.ts';

const FILE = '/etc/sysctl.d/99-hardening.conf';
const SETTINGS = '/proc/sys/net/ipv4';

/** The forwarding setting of every interface and the global one: writing the global one changes them all. */
const SAVE = `for f in ${SETTINGS}/ip_forward ${SETTINGS}/conf/*/forwarding; do printf '%s %s\\n' "$f" "$(cat "$f")"; done`;

async function restore(lab: Handle, at: At, settings: string): Promise<void> {
  const rest = settings
    .trim()
    .split('\n')
    .filter((line) => !line.includes('/conf/all/'))
    .map((line) => line.split(' '));
  await lab.sh(at.node, rest.map(([file, value]) => `echo ${value} > ${file}`).join('\n'));
}

/** Own pods are reached by the node itself; nothing that has to be forwarded gets through, in either direction. */
async function proveNoForwarding(lab: Handle, at: At): Promise<void> {
  const pod = `default/client-${lab.node(at.node).index}`;
  await expectPackets(lab, {
    pass: [
      ping(at.node, lab.node(at.peer).ip),
      ping(at.node, podIp(lab, 'web', at.node)),
      ping(at.peer, lab.node(at.node).bridgeIp),
    ],
    fail: [ping(pod, lab.node(at.peer).bridgeIp), ping(at.peer, podIp(lab, 'web', at.node))],
  });
}

export const ipForwardOff: Fault = {
  name: 'ip-forward-off',
  row: 'N1',
  title: 'ip_forward is 0 on a node, set at runtime',
  placement: 'node',
  networks: ['vxlan', 'host-gw', 'kubenet'],
  async inject(lab, at) {
    return { settings: await lab.sh(at.node, `${SAVE}\necho 0 > ${SETTINGS}/ip_forward`) };
  },
  prove: proveNoForwarding,
  heal: (lab, at, saved) => restore(lab, at, saved['settings'] ?? ''),
  expects: (_lab, at) => failedBy('ip-forward-off', 'L3', at, { lost: 'both', lostOf: 'pods' }),
};

export const ipForwardOffByFile: Fault = {
  name: 'ip-forward-off-by-file',
  row: 'N1',
  title: `ip_forward is 0 on a node: ${FILE} says so and was loaded`,
  placement: 'node',
  async inject(lab, at) {
    const script = `${SAVE}
printf '# Added by the hardening role.\\nnet.ipv4.conf.all.accept_redirects = 0\\nnet.ipv4.ip_forward = 0\\n' > ${FILE}
sysctl -q -p ${FILE}`;
    return { settings: await lab.sh(at.node, script) };
  },
  prove: proveNoForwarding,
  async heal(lab, at, saved) {
    await lab.sh(at.node, `rm -f ${FILE}`);
    await restore(lab, at, saved['settings'] ?? '');
  },
  expects: (_lab, at) => failedBy('ip-forward-off', 'L3', at, { mentions: [FILE], lost: 'both', lostOf: 'pods' }),
};

export const forwardingOffOnInterface: Fault = {
  name: 'forwarding-off-on-interface',
  row: 'N1',
  title: 'ip_forward is 1 on a node, but forwarding is off on flannel.1',
  placement: 'node',
  async inject(lab, at) {
    const file = `${SETTINGS}/conf/flannel.1/forwarding`;
    return { forwarding: (await lab.sh(at.node, `cat ${file}\necho 0 > ${file}`)).trim() };
  },
  prove: proveNoForwarding,
  async heal(lab, at, saved) {
    await lab.sh(at.node, `echo ${saved['forwarding']} > ${SETTINGS}/conf/flannel.1/forwarding`);
  },
  expects: (_lab, at) => failedBy('interface-forwarding-off', 'L3', at, { lost: 'to', lostOf: 'pods' }),
};
