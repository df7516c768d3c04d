import type { Selector, Span, Test, Value } from './ast.ts';
import type { Bits, Changes, Sight } from './packet.ts';

/** Whether a match holds; null when that cannot be told. */
export type Truth = boolean | null;

/** A packet as the rules of one base chain see it. */
export type View = { readonly sight: Sight; readonly changes: Changes; readonly priority: number };

/** Judges one comparison. */
export function judge(test: Test, view: View): Truth {
  return negate(anyRow(test.fields, test.rows, view), test.negated);
}

/** Judges several comparisons of which one has to hold. */
export function judgeAny(tests: readonly Test[], negated: boolean, view: View): Truth {
  return negate(
    tests.reduce<Truth>((truth, test) => or(truth, judge(test, view)), false),
    negated,
  );
}

/** Whether the packet is in one row of a map or set. */
export function judgeRow(fields: readonly Selector[], row: readonly Span[], view: View): Truth {
  let truth: Truth = true;
  // a plain loop: this runs for every rule that a packet meets
  for (let index = 0; index < fields.length; index += 1) {
    const selector = fields[index];
    const span = row[index];
    if (selector === undefined || span === undefined) return null;
    const inside = isInside(view.sight.field(selector.field, view.changes, view.priority), selector, span);
    if (inside === false) return false;
    if (inside === null) truth = null;
  }
  return truth;
}

function anyRow(fields: readonly Selector[], rows: readonly (readonly Span[])[], view: View): Truth {
  let truth: Truth = false;
  for (const row of rows) {
    const inside = judgeRow(fields, row, view);
    if (inside === true) return true;
    truth = or(truth, inside);
  }
  return truth;
}

function isInside(value: Value | Bits | undefined, selector: Selector, [from, to]: Span): Truth {
  if (value === undefined) return null;
  if (typeof value === 'object') return areInside(value, selector.mask ?? 0xffffffff, from, to);
  return typeof value === typeof from && value >= from && value <= to;
}

/** Bits of which some are unknown take every value between none and all of those set. */
function areInside(bits: Bits, mask: number, from: Value, to: Value): Truth {
  if (typeof from !== 'number' || typeof to !== 'number') return null;
  const lowest = (bits.value & bits.known & mask) >>> 0;
  const highest = (lowest | (mask & ~bits.known)) >>> 0;
  if (lowest >= from && highest <= to) return true;
  if (highest < from || lowest > to) return false;
  return from === to && ((from ^ lowest) & bits.known & mask) !== 0 ? false : null;
}

function negate(truth: Truth, negated: boolean): Truth {
  return truth === null || !negated ? truth : !truth;
}

function or(a: Truth, b: Truth): Truth {
  if (a === true || b === true) return true;
  return a === null || b === null ? null : false;
}
