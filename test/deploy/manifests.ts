import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { KubeObject } from '../lab/api/objects.ts';

const RENDERED = join(import.meta.dirname, '../../deploy/rendered');

/** The names of everything that can be installed. */
export const INSTALLATIONS: readonly string[] = readdirSync(RENDERED).map((file) => file.replace('.yaml', ''));

/** The objects of an installation, as they are installed. */
export function installed(name: string): readonly KubeObject[] {
  return parseAllDocuments(readFileSync(join(RENDERED, `${name}.yaml`), 'utf8')).map((document) =>
    KubeObject.parse(document.toJS()),
  );
}
