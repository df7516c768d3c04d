import type { OpenCluster } from '../cluster-worker.ts';

/** A fault that the demo can put into its network. */
export type DemoFault = { readonly name: string; readonly title: string };

/** The network that the demo breaks, diagnoses and heals. */
export type DemoNetwork = {
  /** What it is, in a few words. */
  readonly title: string;
  /** How netcheck gets into it, with the rights that it is installed with; null where `openCluster` opens it. */
  readonly cluster: { readonly kubeconfig: string; readonly context: string } | null;
  readonly openCluster: OpenCluster | null;
  readonly faults: readonly DemoFault[];
  /** The names of the faults that were put in and not taken out again. */
  readonly active: () => readonly string[];
  /** Puts a fault in and says what was done. */
  readonly inject: (name: string) => Promise<string>;
  /** Takes a fault out again, with all that it left behind. */
  readonly heal: (name: string) => Promise<void>;
  /** Pings between the pods of the node of the story and those of all others, past netcheck: what does not work. */
  readonly unreachable: () => Promise<readonly string[]>;
  /** How `unreachable` finds out, in a few words. */
  readonly proof: string;
  readonly close: () => Promise<void>;
};

/** The fault of the story, the node that it is put on, and what the verdict has to say. */
export const STORY = {
  fault: 'ip-forward-off-by-file',
  node: 'node-3',
  peer: 'node-5',
  code: 'ip-forward-off',
  layer: 'L3',
  file: '/etc/sysctl.d/99-hardening.conf',
} as const;
