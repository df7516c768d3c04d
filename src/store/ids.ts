import { randomBytes } from 'node:crypto';

// 32 letters and digits: every byte modulo 32 is equally likely.
const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** A new id: `r` for runs, `a` for actions, `s` for schedules that are not saved yet, then ten letters and digits of which none is mistaken for another. */
export function newId(kind: 'r' | 'a' | 's'): string {
  return kind + Array.from(randomBytes(10), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
}
