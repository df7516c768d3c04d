import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { ENVIRONMENT, formatConfigProblems, readConfig } from '../src/config.ts';
import { SCOPES } from '../test/slack.ts';

const ROOT = join(import.meta.dirname, '..');
const PAGES = [
  'README.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

/** What of all pages is wrong, each with the page that it is on. */
function wrongIn(what: (text: string, page: string) => readonly string[]): readonly string[] {
  return PAGES.flatMap((page) => what(read(page), page).map((found) => `${page}: ${found}`));
}

test('links lead to what is there', () => {
  const wrong = wrongIn((text, page) => {
    const links = [...text.matchAll(/(?:\]\(|src="|srcset=")([^)"\s#]+)/g)].map(([, link = '']) => link);
    return links.filter((link) => !/^[a-z]+:/.test(link) && !existsSync(join(ROOT, dirname(page), link)));
  });
  expect(wrong).toEqual([]);
});

test('files and scripts that are named are there', () => {
  const known = Object.keys((JSON.parse(read('package.json')) as { scripts: object }).scripts);
  const wrong = wrongIn((text) => {
    const files = [...text.matchAll(/`((?:src|test|scripts|docs|deploy)\/[^`\s*{}…]+)`/g)].map(([, file = '']) => file);
    const scripts = [...text.matchAll(/npm run (?:-s )?([a-z-]+)/g)].map(([, script = '']) => script);
    return [...files.filter((file) => !existsSync(join(ROOT, file))), ...scripts.filter((script) => !known.includes(script))];
  });
  expect(wrong).toEqual([]);
});

test('every test that a promise names is there under that name', () => {
  const items = read('docs/promises.md')
    .split(/\n(?=- |\n|#)/)
    .filter((item) => item.startsWith('- `'));
  const missing = items.filter((item) => {
    const text = item.replaceAll(/\s+/g, ' ');
    const files = [...text.matchAll(/`([^`]+\.ts)`/g)].map(([, file = '']) => read(file));
    const [title] = [...text.matchAll(/(?<=: )_(.+?)_(?=\W|$)/g)].map(([, name = '']) => name);
    return title !== undefined && !files.some((file) => file.includes(title));
  });
  expect(items.length).toBeGreaterThan(40);
  expect(missing).toEqual([]);
});

test('the example of a configuration is one, as it stands and with all that it leaves out', () => {
  const text = read('netcheck.example.yaml');
  const whole = text.replaceAll(/^( *)# (?=[a-z]\w*:|  \w)/gm, '$1').replace('enabled: false', 'enabled: true');
  const environment = { NETCHECK_SLACK_SIGNING_SECRET: 'a-secret', NETCHECK_SLACK_BOT_TOKEN: 'xoxb-1' };
  const problems = [text, whole].map((one) => {
    const result = readConfig(one, environment, 'worker');
    return result.ok ? Object.keys(result.value.clusters) : formatConfigProblems('netcheck.example.yaml', result.error);
  });
  expect(problems).toEqual([['prod'], ['prod', 'staging']]);
});

test('the example of an environment has every variable, and no value that is a secret', () => {
  const lines = read('.env.example')
    .split('\n')
    .filter((line) => /^\w/.test(line));
  expect(lines).toEqual(Object.keys(ENVIRONMENT).map((name) => (name === 'LOG_LEVEL' ? `${name}=info` : `${name}=`)));
});

test('each scope of the Slack app is told with what it is for', () => {
  const page = read('docs/slack.md');
  const rows = page.split('\n').filter((line) => /^\| `[a-z]+:?[a-z]*`/.test(line));
  const explained = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, scope = '']) => scope));
  expect(new Set(explained)).toEqual(new Set(SCOPES));
});
