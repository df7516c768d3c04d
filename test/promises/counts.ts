/**
 * How often something is tried: `some` in an ordinary run, `all` with NETCHECK_PROMISES=1, which is what `npm run
 * test:promises` sets. A number between 0 and 1 is that share of all, but never less than some.
 */
export function count(some: number, all: number): number {
  const share = Number(process.env['NETCHECK_PROMISES'] ?? 0);
  return Math.max(some, Math.round(all * share));
}

/** What a test tells `npm run test:promises`: the promise that it proves, and how often it tried, in words. */
export type Proof = { readonly promise: number; readonly tried: string };

/** Tells `npm run test:promises` which promise a test proves, and how often it tried. A test may prove several. */
export function proves(task: { meta: object }, promise: number, tried: string): void {
  const { proofs = [] } = task.meta as { readonly proofs?: readonly Proof[] };
  Object.assign(task.meta, { proofs: [...proofs, { promise, tried }] });
}
