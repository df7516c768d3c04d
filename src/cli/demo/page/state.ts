/** A message as the page shows it. `time` is milliseconds since the epoch. */
export type PageMessage = {
  readonly ts: string;
  readonly time: number;
  readonly blocks: readonly Readonly<Record<string, unknown>>[];
};

/** All that the page shows, sent whole whenever it changes. */
export type PageState = {
  readonly channel: string;
  readonly people: readonly string[];
  /** The names of people and channels, by their ids. */
  readonly names: Readonly<Record<string, string>>;
  readonly network: string;
  readonly faults: readonly { readonly name: string; readonly title: string; readonly isActive: boolean }[];
  /** What is being done to the network at this moment, or null. */
  readonly busy: string | null;
  readonly threads: readonly { readonly root: PageMessage; readonly replies: readonly PageMessage[] }[];
};

/** What the page asks for. `by` is who sits at the keyboard. */
export type PageRequest =
  | { readonly kind: 'command'; readonly by: string; readonly text: string }
  | { readonly kind: 'click'; readonly by: string; readonly action: string; readonly value: string }
  | ({ readonly kind: 'submit'; readonly by: string; readonly text: string } & Pick<PageForm, 'callback' | 'metadata'>)
  | { readonly kind: 'inject' | 'heal'; readonly fault: string };

/** A form with one input, which a click has opened. */
export type PageForm = { readonly title: string; readonly label: string; readonly callback: string; readonly metadata: string };

/** The answer, seen only by whoever asked; null when there is nothing to say, or nothing to be typed. */
export type PageAnswer = { readonly said: string | null; readonly form: PageForm | null };
