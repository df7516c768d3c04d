import { redactorOf } from '../log.ts';
import { outputFormat } from '../options.ts';
import { chosenClusters, configFile } from '../settings.ts';
import { roleOf } from '../show-config.ts';
import { readVersion } from '../version.ts';
import { checkCluster } from './cluster.ts';
import { checkConfig, checkNode, checkRemedies } from './installation.ts';
import { type Item, notChecked, type Section, type State } from './item.ts';
import { checkRedis } from './redis.ts';
import { checkSlack } from './slack.ts';

const WORDS: Readonly<Record<State, string>> = {
  ok: 'ok',
  failed: 'failed',
  warning: 'warning',
  'not-checked': 'not checked',
};

/** `netcheck doctor`: looks at an installation and changes nothing. Returns 0, or 1 when something fails. */
export async function doctor(options: Readonly<Record<string, unknown>>): Promise<number> {
  const format = outputFormat(options['output'], ['text', 'json']);
  const role = roleOf(options['for']);
  const file = configFile(options);
  const { config, items } = checkConfig(file, role);
  const sections: Promise<Section>[] = [];
  const add = (title: string, checked: Promise<readonly Item[]>): void => {
    sections.push(checked.then((found) => ({ title, items: found })));
  };
  const clusters = config === null ? [] : chosenClusters(config, options);
  const remedies = config === null ? [] : checkRemedies(config, role, clusters);
  add(
    'Installation',
    Promise.resolve(remedies).then((more) => [checkNode(), ...items, ...more]),
  );
  if (role !== 'worker') {
    const slack = config?.slack ?? null;
    add('Slack', slack === null ? without() : checkSlack(slack));
  }
  const where = { role, clusters, file, version: readVersion() };
  add('Redis', config === null ? without() : checkRedis(config, where));
  if (role !== 'bot') {
    if (config === null) add('Clusters', without());
    for (const name of clusters) {
      const settings = config?.clusters[name];
      if (settings !== undefined) add(`Cluster ${name}`, checkCluster(name, settings, where.version));
    }
  }
  const report = await Promise.all(sections);
  const hasFailed = report.some((section) => section.items.some(({ state }) => state === 'failed'));
  const redact = redactorOf(process.env);
  process.stdout.write(redact(format === 'json' ? asJson(report, !hasFailed) : asText(report)));
  return hasFailed ? 1 : 0;
}

async function without(): Promise<readonly Item[]> {
  return [notChecked('the configuration cannot be used')];
}

function asJson(sections: readonly Section[], ok: boolean): string {
  return `${JSON.stringify({ ok, sections }, null, 2)}\n`;
}

function asText(sections: readonly Section[]): string {
  const width = Math.max(...Object.values(WORDS).map((word) => word.length));
  const count = (state: State): number => sections.flatMap(({ items }) => items).filter((item) => item.state === state).length;
  const blocks = sections.map(({ title, items }) => {
    const lines = items.map(({ state, message, fix }) => {
      const hint = fix === undefined ? '' : `\n${' '.repeat(width + 4)}→ ${fix}`;
      return `  ${WORDS[state].padEnd(width)}  ${message}${hint}`;
    });
    return `${title}\n${lines.join('\n')}\n`;
  });
  const sum = (['ok', 'failed', 'warning', 'not-checked'] as const).map((state) => `${count(state)} ${WORDS[state]}`).join(', ');
  return `${blocks.join('\n')}\n${sum}\n`;
}
