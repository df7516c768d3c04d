import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type Config, formatConfigProblems, type Role, readConfig } from '../config.ts';
import { nearNames } from '../model/near-names.ts';
import { messageOf } from '../model/text.ts';
import { QUEUE_NAMES, type QueueName } from '../model/wire/job.ts';
import { textOption } from './options.ts';
import { UsageError } from './usage-error.ts';

/** The value of `--config`, or where the configuration is without it. */
export function configFile(options: Readonly<Record<string, unknown>>): string {
  return textOption(options, 'config') ?? 'netcheck.yaml';
}

/**
 * Reads a configuration file for a process of that role. Paths in it that are relative start at its folder. Throws a
 * `UsageError` that lists every problem with its line.
 */
export function loadConfig(file: string, role: Role, environment: NodeJS.ProcessEnv = process.env): Config {
  const read = readConfig(readText(file), environment, role);
  if (!read.ok) throw new UsageError(`the configuration cannot be used:\n${formatConfigProblems(file, read.error)}`);
  const config = read.value;
  const absolute = (path: string | undefined): string | undefined =>
    path === undefined ? undefined : resolve(dirname(file), path);
  return {
    ...config,
    clusters: Object.fromEntries(
      Object.entries(config.clusters).map(([name, cluster]) => [name, { ...cluster, kubeconfig: absolute(cluster.kubeconfig) }]),
    ),
    remedies: {
      ...config.remedies,
      publicKeyFile: absolute(config.remedies.publicKeyFile),
      auditFile: absolute(config.remedies.auditFile),
    },
  };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const reason = messageOf(error);
    throw new UsageError(
      `the configuration cannot be read: ${reason}\nName another file with --config, or begin with a copy of netcheck.example.yaml.`,
    );
  }
}

/** The clusters that `--cluster` chooses: the one of that name, or without it all of them. */
export function chosenClusters(config: Config, options: Readonly<Record<string, unknown>>): readonly string[] {
  const names = Object.keys(config.clusters);
  const wanted = options['cluster'];
  if (wanted === undefined) return names;
  const name = typeof wanted === 'string' ? wanted : JSON.stringify(wanted);
  if (names.includes(name)) return [name];
  const near = nearNames(name, names);
  const hint = near.length > 0 ? `Did you mean ${near.join(' or ')}?` : `There are ${names.join(', ')}.`;
  throw new UsageError(`--cluster ${name}: the configuration has no such cluster. ${hint}`);
}

/** The queues that `--queue` chooses: the one of that name, or undefined for both. */
export function chosenQueues(config: Config, options: Readonly<Record<string, unknown>>): readonly QueueName[] | undefined {
  const wanted = textOption(options, 'queue');
  if (wanted === undefined) return undefined;
  const name = QUEUE_NAMES.find((queue) => queue === wanted);
  if (name === undefined) throw new UsageError(`--queue ${wanted}: it is ${QUEUE_NAMES.join(' or ')}.`);
  if (name === 'remediate' && !config.remedies.enabled)
    throw new UsageError('--queue remediate: there is nothing to do, remedies.enabled is false in the configuration.');
  return [name];
}
