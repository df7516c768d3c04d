import { z } from 'zod';

const times = z.int().positive().optional().describe('how often it strikes; always when absent');

/** What goes wrong with `pods/exec`, for the pods that match. */
export const ExecFault = z.intersection(
  z.object({ node: z.string().optional(), pod: z.string().optional(), times }),
  z.discriminatedUnion('kind', [
    z
      .object({ kind: z.literal('drop'), afterBytes: z.int().nonnegative() })
      .describe('cut after so much standard output; 0 cuts at once'),
    z.object({ kind: z.literal('close-without-status') }).describe('closed in order at the end, but no Status was sent'),
    z.object({ kind: z.literal('hang-before-open') }).describe('the upgrade is never answered'),
    z.object({ kind: z.literal('hang-after-open') }).describe('the upgrade is accepted and nothing follows'),
    z.object({ kind: z.literal('forbidden') }),
    z.object({ kind: z.literal('throttled'), retryAfterSeconds: z.int().nonnegative() }),
  ]),
);
export type ExecFault = z.infer<typeof ExecFault>;

/** What goes wrong with reads of a resource, by its plural name (`version` for /version). */
const ReadFault = z.intersection(
  z.object({ resource: z.string(), verb: z.enum(['list', 'get', 'watch']).optional(), times }),
  z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('status'),
      code: z.literal([401, 403, 429, 500, 503, 504]),
      retryAfterSeconds: z.int().nonnegative().optional(),
    }),
    z.object({ kind: z.literal('html') }).describe('a 502 of a proxy in between, with a page instead of a Status'),
    z.object({ kind: z.literal('slow'), delayMs: z.int().nonnegative() }),
    z.object({ kind: z.literal('hang') }).describe('never answered'),
    z.object({ kind: z.literal('cut') }).describe('the connection is cut half-way through the answer'),
  ]),
);
type ReadFault = z.infer<typeof ReadFault>;

/** Every switch of the double. Posting one of these to `/_lab/faults` replaces all that were set before. */
export const Faults = z.strictObject({
  exec: z.array(ExecFault).default([]),
  reads: z.array(ReadFault).default([]),
  /** Resources whose watches are cut: those that are open now, and new ones as soon as they open. */
  watchDrop: z.array(z.string()).default([]),
});
export type Faults = z.infer<typeof Faults>;

/** The switches as they are now. `strike…` takes one use of a fault that is limited in number. */
type Switches = {
  readonly get: () => Faults;
  readonly set: (faults: Faults) => void;
  readonly strikeExec: (node: string, pod: string) => ExecFault | undefined;
  readonly strikeRead: (resource: string, verb: string) => ReadFault | undefined;
};

/** Switches that are all off. */
export function createSwitches(): Switches {
  let faults: Faults = { exec: [], reads: [], watchDrop: [] };

  function strike<F extends ExecFault | ReadFault>(list: F[], isMatch: (fault: F) => boolean): F | undefined {
    const index = list.findIndex(isMatch);
    const fault = list[index];
    if (fault?.times !== undefined) {
      if (fault.times === 1) list.splice(index, 1);
      else list[index] = { ...fault, times: fault.times - 1 };
    }
    return fault;
  }

  return {
    get: () => faults,
    set(next) {
      faults = structuredClone(next);
    },
    strikeExec: (node, pod) => strike(faults.exec, (fault) => (fault.node ?? node) === node && (fault.pod ?? pod) === pod),
    strikeRead: (resource, verb) => strike(faults.reads, (fault) => fault.resource === resource && (fault.verb ?? verb) === verb),
  };
}
