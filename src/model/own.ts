/**
 * What a record holds under a key that comes from outside, and nothing that every object has: `constructor` is a word that
 * anybody may type, and a label that a pod may lack.
 */
export function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
