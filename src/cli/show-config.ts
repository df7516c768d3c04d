import { stringify } from 'yaml';
import { ENVIRONMENT, FileConfig, type Role } from '../config.ts';
import { nearNames } from '../model/near-names.ts';
import { configFile, loadConfig } from './settings.ts';
import { UsageError } from './usage-error.ts';

const ROLES = ['bot', 'worker', 'all'] as const;

/** `netcheck config`: what is configured, with every default and without secrets. Returns the exit status. */
export function showConfig(options: Readonly<Record<string, unknown>>): number {
  const file = configFile(options);
  const role = roleOf(options['for']);
  const { slack, redis, approvalKey: _approvalKey, ...rest } = loadConfig(file, role);
  // What the file may hold, and nothing else of it: secrets come from the environment only.
  const inFile = Object.keys(FileConfig.shape.slack.unwrap().shape);
  const shown = Object.fromEntries(Object.entries(slack ?? {}).filter(([key]) => inFile.includes(key)));
  const url = new URL(redis.url);
  url.password = '';
  const environment = Object.entries(ENVIRONMENT).map(([name, { for: needed }]) => {
    const isSet = (process.env[name] ?? '') !== '';
    return `#   ${name.padEnd(30)} ${isSet ? 'set' : 'not set'} (${needed === 'optional' ? needed : `for the ${needed}`})\n`;
  });
  const effective = { ...(slack === null ? {} : { slack: shown }), redis: { url: url.href }, ...rest };
  process.stdout.write(`# ${file} is fine for: netcheck ${role}\n# From the environment:\n${environment.join('')}`);
  process.stdout.write(stringify(effective));
  return 0;
}

/** The value of `--for`. Throws a `UsageError` for what is no role. */
export function roleOf(value: unknown): Role {
  const role = ROLES.find((candidate) => candidate === value);
  if (role !== undefined) return role;
  const [near] = nearNames(String(value), ROLES, 1);
  throw new UsageError(`--for ${String(value)}: it is bot, worker or all.${near === undefined ? '' : ` Did you mean ${near}?`}`);
}
