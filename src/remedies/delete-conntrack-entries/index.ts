import { z } from 'zod';
import { wholeNumber } from '../kit/params.ts';
import { defineRemedy } from '../remedy.ts';

const Port = wholeNumber(1, 65_535);

/** Where the packets were sent to, and where the entries lead them. */
const Params = z.strictObject({
  proto: z.literal('udp'),
  ip: z.ipv4(),
  port: Port,
  target: z.ipv4(),
  targetPort: Port,
});
type Params = z.infer<typeof Params>;

/** N20: deletes the entries of a Service's UDP port that lead to one address which is none of its endpoints. */
export const deleteConntrackEntries = defineRemedy({
  id: 'delete-conntrack-entries',
  place: 'node',
  title: 'Delete the connection-tracking entries that lead to an endpoint which is gone',
  risk: 'The next packet of each client gets an entry of its own again, which leads to an endpoint that is there. Entries that lead anywhere else are not touched.',
  riskClass: 'low',
  undo: null,
  irreversible: 'An entry that leads to nobody is not worth bringing back; the kernel makes a new one with the next packet.',
  params: Params,
  state: z.strictObject({ entries: z.int() }),
  commands: (params) => [['conntrack', '-D', ...filter(params)]],
  async read(params, host) {
    const text = await host.run(list(params));
    return { entries: text.split('\n').filter((line) => line.startsWith('udp ')).length };
  },
  obsolete: ({ ip, port, target, targetPort }, { entries }) =>
    entries > 0 ? null : `no entry leads UDP packets for ${ip} port ${port} to ${target} port ${targetPort} any more`,
  describe: (params, { entries }) => [{ source: list(params).join(' '), text: `${entries} entr${entries === 1 ? 'y' : 'ies'}` }],
  undoCommands: () => [],
});

function list(params: Params): readonly string[] {
  return ['conntrack', '-L', ...filter(params)];
}

/** Only entries that all of this holds for. What is translated answers from where the packets were led to. */
function filter({ proto, ip, port, target, targetPort }: Params): readonly string[] {
  const sent = ['-p', proto, '--orig-dst', ip, '--orig-port-dst', port];
  return [...sent, '--reply-src', target, '--reply-port-src', targetPort];
}
