import { z } from 'zod';
import { FIREWALLS } from '../../model/firewalls.ts';
import { IptablesSystem } from '../kit/iptables.ts';
import { defineRemedy, type Host } from '../remedy.ts';

/** `system` is where the firewall's rules were found. */
const Params = z.discriminatedUnion('firewall', [
  z.strictObject({ firewall: z.literal('firewalld'), system: z.enum([...IptablesSystem.options, 'nft']) }),
  z.strictObject({ firewall: z.literal('ufw'), system: IptablesSystem }),
]);
type Params = z.infer<typeof Params>;

/** `status` is what the firewall's own program says; `rules` what is loaded of its rules, as their tool prints them. */
const State = z.strictObject({ status: z.string(), rules: z.array(z.string()) });
type State = z.infer<typeof State>;

/** Firewalls are programs of the host, with its files: what runs is the host's own. */
const ON_HOST = ['nsenter', '--target', '1', '--mount', '--'] as const;

const STOP: Readonly<Record<Params['firewall'], readonly string[]>> = {
  firewalld: [...ON_HOST, 'systemctl', 'stop', 'firewalld'],
  ufw: [...ON_HOST, 'ufw', 'disable'],
};

/** `--force` only leaves out the question whether connections by SSH may be cut. */
const START: Readonly<Record<Params['firewall'], readonly string[]>> = {
  firewalld: [...ON_HOST, 'systemctl', 'start', 'firewalld'],
  ufw: [...ON_HOST, 'ufw', '--force', 'enable'],
};

const STATUS: Readonly<Record<Params['firewall'], readonly string[]>> = {
  firewalld: [...ON_HOST, 'systemctl', 'show', '--property=ActiveState', 'firewalld'],
  ufw: [...ON_HOST, 'ufw', 'status'],
};

/** N3: stops a firewall of the host, with all rules that it loaded. */
export const stopFirewall = defineRemedy<Params, State>({
  id: 'stop-firewall',
  place: 'node',
  title: 'Stop the firewall of the host',
  risk: 'Everything that the firewall kept out reaches the node from then on, on every port that something listens on. firewalld comes back with the next boot unless it is disabled as well; ufw stays off until it is enabled.',
  riskClass: 'high',
  undo: 'The firewall is started again and loads the rules of its configuration. What was changed in it at run time only is lost, and the thread says so where the rules are then not those from before.',
  params: Params,
  state: State,
  commands: ({ firewall }) => [STOP[firewall]],
  read: async (params, host) => ({ status: await statusOf(params, host), rules: await rulesOf(params, host) }),
  obsolete({ firewall }, { status, rules }) {
    if (status !== 'active') return `${firewall} does not run any more (it is ${status})`;
    return rules.length === 0 ? `${firewall} has loaded no rules` : null;
  },
  describe: ({ firewall }, { status, rules }) => [
    { source: STATUS[firewall].join(' '), text: `${firewall} is ${status}, with ${rules.length} lines of rules loaded` },
  ],
  undoCommands: ({ firewall }, prior, after) => (prior.status === 'active' && after.status !== 'active' ? [START[firewall]] : []),
});

async function statusOf({ firewall }: Params, host: Host): Promise<string> {
  const text = await host.run(STATUS[firewall]);
  const status = /^(?:ActiveState=|Status: )(\S+)$/m.exec(text)?.[1];
  if (status === undefined) throw new Error(`${STATUS[firewall].join(' ')} says nothing of a status: ${text.trim()}`);
  return status;
}

async function rulesOf({ firewall, system }: Params, host: Host): Promise<string[]> {
  const mine = FIREWALLS.find(({ name }) => name === firewall);
  if (mine === undefined) throw new Error(`nothing is known of ${firewall}`);
  if (system === 'nft') {
    const tables = (await host.run(['nft', 'list', 'tables'])).split('\n').map((line) => line.split(' '));
    const texts = [];
    for (const [, family = '', name = ''] of tables) {
      if (mine.tables.test(name)) texts.push(await host.run(['nft', '-s', 'list', 'table', family, name]));
    }
    return texts.flatMap((text) => text.trimEnd().split('\n'));
  }
  const saved = await host.run([system === 'legacy' ? 'iptables-legacy-save' : 'iptables-nft-save']);
  return ownLines(saved, mine.chains);
}

/** What iptables-save prints of a firewall's chains and of the ways into them, and of policies, each with its table. */
function ownLines(saved: string, chains: RegExp): string[] {
  let table = '';
  return saved.split('\n').flatMap((line) => {
    table = /^\*(\S+)/.exec(line)?.[1] ?? table;
    const [, chain = '', policy = ''] = /^(?::|-A )(\S+) (\S+)/.exec(line) ?? [];
    const isPolicy = line.startsWith(':') && policy !== '-' && table === 'filter';
    const isOwn = chains.test(chain) || chains.test(/ -[jg] (\S+)/.exec(line)?.[1] ?? '');
    return isPolicy || isOwn ? [`${table} ${line.replace(/ \[\d+:\d+\]$/, '')}`] : [];
  });
}
