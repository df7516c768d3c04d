import type { Handle } from '../handle.ts';
import type { At, Fault } from './fault.ts';
import { expectPackets, tcp } from './packets.ts';

const PORT = 9735;

/** A server on a node that takes `backlog` connections, and its process id. */
async function serve(lab: Handle, at: At, backlog: number): Promise<string> {
  return lab.sh(
    at.node,
    `redis-server --port ${PORT} --tcp-backlog ${backlog} --protected-mode no --save '' --dir / </dev/null >/dev/null 2>&1 &
until ss -Hltn "sport = ${PORT}" | grep -q .; do kill -0 $!; done
echo $!`,
  );
}

async function counter(lab: Handle, node: string, name: string): Promise<number> {
  const text = await lab.sh(node, `nstat -asz | awk '$1 == "TcpExt${name}" { print $2 }'`);
  return Number(text);
}

/** Throws unless a counter of a node's TCP grows by itself within some seconds. */
async function proveGrowth(lab: Handle, node: string, name: string): Promise<void> {
  const before = await counter(lab, node, name);
  const until = Date.now() + 4000;
  while ((await counter(lab, node, name)) === before) {
    if (Date.now() > until) throw new Error(`${name} stays ${before} on ${node}, and must grow`);
  }
}

export const listenQueueFull: Fault = {
  name: 'listen-queue-full',
  row: 'N15',
  title: 'a program on a node accepts no connections, its queue is full, and clients keep trying',
  placement: 'pair',
  async inject(lab, at) {
    const server = (await serve(lab, at, 4)).trim();
    const to = `TCP:${lab.node(at.node).ip}:${PORT}`;
    await lab.sh(at.node, `kill -STOP ${server}`);
    const clients = await lab.sh(
      at.peer,
      `for i in 1 2 3 4 5; do socat -u ${to} OPEN:/dev/null </dev/null >/dev/null 2>&1 & echo $!; done
for i in 1 2 3; do
  sh -c 'while :; do socat -u OPEN:/dev/null ${to},connect-timeout=1; done' </dev/null >/dev/null 2>&1 &
  echo $!
done`,
    );
    return { server, clients: clients.trim().replaceAll('\n', ' ') };
  },
  async prove(lab, at) {
    await proveGrowth(lab, at.node, 'ListenOverflows');
    await expectPackets(lab, { pass: [], fail: [tcp(at.peer, lab.node(at.node).ip, PORT)] });
  },
  async heal(lab, at, saved) {
    // The last attempts outlive the loops that made them, by a second.
    await lab.sh(at.peer, `kill ${saved['clients']}\nwhile ps -e -o comm= | grep -qx socat; do sleep 0.1; done`);
    await lab.sh(at.node, `kill -KILL ${saved['server']}`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['listen-queue-overflow'], nodes: [] }),
};

/** Sets the timestamps of all that follows on known connections far back, as another machine behind the address would. */
const RULES = `table ip clocks {
  chain output {
    type filter hook output priority mangle;
    tcp dport ${PORT} ct state established ct original packets > 2 tcp option timestamp tsval set 1
  }
}`;

export const timestampsRejected: Fault = {
  name: 'timestamps-rejected',
  row: 'N16',
  title: 'connections to a node go on with timestamps that are far older',
  placement: 'pair',
  async inject(lab, at) {
    const server = (await serve(lab, at, 128)).trim();
    const acct = await lab.sh(
      at.peer,
      'cat /proc/sys/net/netfilter/nf_conntrack_acct\necho 1 >/proc/sys/net/netfilter/nf_conntrack_acct',
    );
    const clients = await lab.sh(
      at.peer,
      `nft -f - <<'END'
${RULES}
END
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
  sh -c 'while :; do timeout 0.3 socat -u OPEN:/dev/zero TCP:${lab.node(at.node).ip}:${PORT}; done' </dev/null >/dev/null 2>&1 &
  echo $!
done`,
    );
    return { server, acct: acct.trim(), clients: clients.trim().replaceAll('\n', ' ') };
  },
  prove: (lab, at) => proveGrowth(lab, at.node, 'PAWSEstab'),
  async heal(lab, at, saved) {
    await lab.sh(
      at.peer,
      `kill ${saved['clients']}
nft delete table ip clocks
echo ${saved['acct']} >/proc/sys/net/netfilter/nf_conntrack_acct`,
    );
    await lab.sh(at.node, `kill -KILL ${saved['server']}`);
  },
  expects: () => ({ status: 'healthy', layer: null, codes: [], risks: ['timestamps-rejected'], nodes: [] }),
};
