import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';

type Json = unknown;

const Operation = z.discriminatedUnion('op', [
  z.object({ op: z.literal(['add', 'replace', 'test']), path: z.string(), value: z.unknown() }),
  z.object({ op: z.literal('remove'), path: z.string() }),
  z.object({ op: z.literal(['move', 'copy']), path: z.string(), from: z.string() }),
]);

/** What came of a patch: the new value, or why it does not apply. */
type Patched = { readonly ok: true; readonly value: Json } | { readonly ok: false; readonly message: string };

/** A JSON merge patch (RFC 7386): null removes, objects merge, everything else replaces. */
export function mergePatch(target: Json, patch: Json): Json {
  if (!isRecord(patch)) return patch;
  const result: Record<string, Json> = isRecord(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = mergePatch(result[key], value);
  }
  return result;
}

/** A JSON patch (RFC 6902): all of it applies, or nothing. */
export function jsonPatch(target: Json, patch: Json): Patched {
  const operations = z.array(Operation).safeParse(patch);
  if (!operations.success) return { ok: false, message: 'the patch is not a list of JSON patch operations' };
  const root = { document: structuredClone(target) };
  for (const operation of operations.data) {
    const problem = apply(root, operation);
    if (problem !== null) return { ok: false, message: `${operation.op} ${operation.path}: ${problem}` };
  }
  return { ok: true, value: root.document };
}

function apply(root: { document: Json }, operation: z.infer<typeof Operation>): string | null {
  switch (operation.op) {
    case 'add':
      return put(root, operation.path, operation.value, 'add');
    case 'replace':
      return put(root, operation.path, operation.value, 'replace');
    case 'test':
      return isDeepStrictEqual(read(root, operation.path)?.value, operation.value) ? null : 'the value there is another one';
    case 'remove':
      return remove(root, operation.path);
    default: {
      const found = read(root, operation.from);
      if (found === null) return `there is no ${operation.from}`;
      const problem = operation.op === 'move' ? remove(root, operation.from) : null;
      return problem ?? put(root, operation.path, structuredClone(found.value), 'add');
    }
  }
}

/** The names of a JSON pointer below `document`, so that the empty pointer needs no case of its own. */
function namesOf(pointer: string): readonly string[] {
  return [
    'document',
    ...pointer
      .split('/')
      .slice(1)
      .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~')),
  ];
}

function read(root: Json, pointer: string): { readonly value: Json } | null {
  let value = root;
  for (const name of namesOf(pointer)) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return null;
    value = (value as Record<string, Json>)[name];
  }
  return { value };
}

function parentOf(root: Json, pointer: string): { readonly parent: object; readonly name: string } | null {
  const names = namesOf(pointer);
  let parent = root;
  for (const name of names.slice(0, -1)) {
    if (typeof parent !== 'object' || parent === null) return null;
    parent = (parent as Record<string, Json>)[name];
  }
  return typeof parent === 'object' && parent !== null ? { parent, name: names.at(-1) ?? '' } : null;
}

function put(root: Json, pointer: string, value: Json, op: 'add' | 'replace'): string | null {
  const place = parentOf(root, pointer);
  if (place === null) return 'the path does not exist';
  const { parent, name } = place;
  if (Array.isArray(parent)) {
    const index = name === '-' ? parent.length : Number(name);
    if (!Number.isInteger(index) || index < 0 || index > parent.length) return 'there is no such index';
    parent.splice(index, op === 'add' ? 0 : 1, value);
    return null;
  }
  if (op === 'replace' && !Object.hasOwn(parent, name)) return 'there is nothing to replace';
  (parent as Record<string, Json>)[name] = value;
  return null;
}

function remove(root: Json, pointer: string): string | null {
  const place = parentOf(root, pointer);
  if (place === null || !Object.hasOwn(place.parent, place.name)) return 'there is nothing to remove';
  if (Array.isArray(place.parent)) place.parent.splice(Number(place.name), 1);
  else delete (place.parent as Record<string, Json>)[place.name];
  return null;
}

function isRecord(value: Json): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
