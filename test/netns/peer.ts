import { createSocket, type Socket } from 'node:dgram';
import { connect, createServer, type Socket as TcpSocket } from 'node:net';
import { createInterface } from 'node:readline';

/*
 * One end of the packets that tests send between network namespaces: a process that runs inside one of them, takes
 * commands as JSON lines on standard input and reports what happened as JSON lines on standard output. It ends when its
 * standard input does.
 */

/** `serve` answers every datagram with itself and accepts connections; `udp` and `tcp` send from a fresh port. */
export type PeerCommand =
  | { readonly do: 'serve'; readonly ports: readonly number[] }
  | { readonly do: 'udp' | 'tcp'; readonly id: string; readonly to: string; readonly port: number }
  | { readonly do: 'close' };

/** `received`: a datagram with this id arrived; `answered`: its echo came back; `connected`: the handshake was completed. */
export type PeerEvent =
  | { readonly is: 'serving' }
  | { readonly is: 'received' | 'answered' | 'connected' | 'refused'; readonly id: string };

function report(event: PeerEvent): void {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

function serve(ports: readonly number[]): void {
  let starting = ports.length * 2;
  const started = (): void => {
    starting -= 1;
    if (starting === 0) report({ is: 'serving' });
  };
  for (const port of ports) {
    const socket = createSocket('udp4');
    socket.on('message', (message, from) => {
      report({ is: 'received', id: message.toString().trim() });
      // a rule may forbid the answer: that is what the test is about
      socket.send(message, from.port, from.address, () => undefined);
    });
    socket.bind(port, started);
    createServer((client) => client.on('error', () => undefined).resume()).listen(port, started);
  }
}

const open = new Set<Socket | TcpSocket>();

function sendDatagram(id: string, to: string, port: number): void {
  const socket = createSocket('udp4');
  open.add(socket);
  socket.on('message', (message) => report({ is: 'answered', id: message.toString().trim() }));
  // a datagram that a rule of this host drops makes the call fail with EPERM
  socket.on('error', () => report({ is: 'refused', id }));
  socket.send(id.padEnd(32), port, to, (error) => {
    if (error !== null) report({ is: 'refused', id });
  });
}

function openConnection(id: string, to: string, port: number): void {
  const socket = connect({ host: to, port });
  open.add(socket);
  socket.on('connect', () => report({ is: 'connected', id }));
  socket.on('error', () => report({ is: 'refused', id }));
}

function closeAll(): void {
  for (const socket of open) {
    if ('destroy' in socket) socket.destroy();
    else socket.close();
  }
  open.clear();
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as PeerCommand;
  if (command.do === 'serve') serve(command.ports);
  else if (command.do === 'close') closeAll();
  else if (command.do === 'udp') sendDatagram(command.id, command.to, command.port);
  else openConnection(command.id, command.to, command.port);
}
process.exit(0);
