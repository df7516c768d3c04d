import { z } from 'zod';
import { apiCommands, configMapPath } from '../api-host.ts';
import { defineRemedy, type Remedy } from '../remedy.ts';
import { DnsName } from './params.ts';

/** net-conf.json as it is, and as it is to be. */
const NetConf = z.string().max(2_000).refine(isJson, 'is not JSON');

const Params = z.strictObject({ namespace: DnsName, configMap: DnsName, daemonSet: DnsName, from: NetConf, to: NetConf });
type Params = z.output<typeof Params>;

/** `backup` is what an earlier change of netcheck's left beside it. */
const State = z.strictObject({ netConf: z.string().nullable(), backup: z.string().nullable() });
type State = z.output<typeof State>;

const FILE = 'net-conf.json';
const BACKUP = 'netcheck.io/net-conf-before';

const ConfigMap = z.object({
  metadata: z.object({ annotations: z.record(z.string(), z.string()).optional() }),
  data: z.record(z.string(), z.string()).optional(),
});

/**
 * A remedy that changes the backend of flannel in its ConfigMap and then restarts flannel, one node at a time: what was
 * there before is kept as an annotation of the ConfigMap, and brought back when a node does not come back.
 */
export function flannelBackend({ id, title, risk }: Pick<Remedy<Params, State>, 'id' | 'title' | 'risk'>): Remedy<Params, State> {
  const path = ({ namespace, configMap }: Params): string => configMapPath(namespace, configMap);
  const write = (params: Params, netConf: string | null, backup: string | null): readonly (readonly string[])[] => [
    apiCommands.patch(path(params), { metadata: { annotations: { [BACKUP]: backup } }, data: { [FILE]: netConf } }),
    apiCommands.roll(params.namespace, params.daemonSet),
  ];
  return defineRemedy({
    id,
    place: 'api',
    title,
    risk,
    riskClass: 'high',
    isSlow: true,
    undo: `The ConfigMap gets back its ${FILE}, and flannel is restarted again, one node at a time.`,
    params: Params,
    state: State,
    diff: ({ from, to }) => lineDiff(from, to),
    commands: (params) => write(params, params.to, params.from),
    onFailure: (params) => write(params, params.from, null),
    async read(params, host) {
      const text = await host.readText(path(params));
      if (text === null) return { netConf: null, backup: null };
      const { metadata, data } = ConfigMap.parse(JSON.parse(text));
      return { netConf: data?.[FILE] ?? null, backup: metadata.annotations?.[BACKUP] ?? null };
    },
    obsolete({ namespace, configMap, from, to }, { netConf }) {
      if (netConf === from) return null;
      const why = netConf === null ? 'is not there' : netConf === to ? 'is changed already' : 'was changed by somebody else';
      return `${FILE} in ${namespace}/${configMap} ${why}`;
    },
    describe: (params, { netConf }) => [
      { source: `GET ${path(params)}`, text: netConf === null ? `no ${FILE}` : oneLine(netConf) },
    ],
    undoCommands: (params, prior) => write(params, prior.netConf, prior.backup),
  });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** The lines that differ, as diff(1) marks them; both texts have few. */
function lineDiff(from: string, to: string): string {
  const [before, after] = [from, to].map((text) => JSON.stringify(JSON.parse(text), null, 2).split('\n'));
  const lines = (own: readonly string[] = [], others: readonly string[] = [], mark: string): string[] =>
    own.filter((line) => !others.includes(line)).map((line) => `${mark}${line}`);
  return [`--- ${FILE}`, `+++ ${FILE}`, ...lines(before, after, '-'), ...lines(after, before, '+')].join('\n');
}

/** The text on one line; somebody may have left what is no JSON. */
function oneLine(text: string): string {
  return isJson(text) ? JSON.stringify(JSON.parse(text)) : text.replaceAll(/\s+/g, ' ');
}
