import type { ActionsBlock, Button, KnownBlock } from '@slack/types';
import { literal, type Mrkdwn } from './markup.ts';

/** Slack's limits, in UTF-16 units or items. `message` is what all blocks of one message may hold together. */
export const LIMITS = {
  blocks: 50,
  section: 3_000,
  context: 3_000,
  button: 75,
  buttonValue: 2_000,
  actions: 25,
  preformatted: 2_800,
  message: 10_000,
  text: 3_000,
} as const;

/** A message as it is sent: `text` is what notifications and screen readers get. */
export type Message = { readonly text: string; readonly blocks: KnownBlock[] };

/** What only one person is told, with buttons where it asks something back. `replace` takes the place of what was pressed. */
export type Answer = {
  readonly text: Mrkdwn;
  readonly more?: readonly Mrkdwn[];
  readonly buttons: readonly Button[];
  readonly replace?: boolean;
};

/** A paragraph. `verbatim` keeps Slack from making links and mentions out of what looks like one. */
export function section(text: Mrkdwn): KnownBlock {
  return { type: 'section', text: { type: 'mrkdwn', text: nonEmpty(text), verbatim: true } };
}

/** A line in small print. */
export function context(text: Mrkdwn): KnownBlock {
  return { type: 'context', elements: [{ type: 'mrkdwn', text: nonEmpty(text), verbatim: true }] };
}

/** Text exactly as it is, in a fixed-width font: nothing in it is read as markup, mention or link. */
export function preformatted(text: string, limit: number = LIMITS.preformatted): KnownBlock {
  return {
    type: 'rich_text',
    elements: [{ type: 'rich_text_preformatted', elements: [{ type: 'text', text: literal(text, limit) }] }],
  };
}

/** A row of buttons. */
export function buttons(id: string, row: readonly Button[]): ActionsBlock {
  return { type: 'actions', block_id: id, elements: row.slice(0, LIMITS.actions) };
}

/** A button. `value` is an id and nothing else. */
export function button(spec: {
  readonly action: string;
  readonly label: string;
  readonly value: string;
  readonly style?: 'primary' | 'danger';
  readonly confirm?: { readonly title: string; readonly text: string; readonly yes: string; readonly no: string };
}): Button {
  const { action, label, value, style, confirm } = spec;
  return {
    type: 'button',
    action_id: action,
    text: { type: 'plain_text', text: literal(label, LIMITS.button), emoji: false },
    value,
    ...(style === undefined ? {} : { style }),
    ...(confirm === undefined
      ? {}
      : {
          confirm: {
            title: { type: 'plain_text', text: literal(confirm.title, 100) },
            text: { type: 'plain_text', text: literal(confirm.text, 300) },
            confirm: { type: 'plain_text', text: literal(confirm.yes, 30) },
            deny: { type: 'plain_text', text: literal(confirm.no, 30) },
          },
        }),
  };
}

/** How much of a message's room a block takes. */
export function sizeOf(block: KnownBlock): number {
  return JSON.stringify(block).length;
}

/**
 * Puts groups of blocks into as few messages as possible, at most `most`, without tearing a group apart unless it does
 * not fit into one message. Returns the messages' blocks and how many groups were left out.
 */
export function pack(
  groups: readonly KnownBlock[][],
  most: number,
): { readonly messages: KnownBlock[][]; readonly left: number } {
  const messages: KnownBlock[][] = [];
  let current: KnownBlock[] = [];
  let used = 0;
  for (const [index, group] of groups.entries()) {
    const size = group.reduce((sum, block) => sum + sizeOf(block), 0);
    if (current.length > 0 && (current.length + group.length > LIMITS.blocks - 2 || used + size > LIMITS.message)) {
      messages.push(current);
      current = [];
      used = 0;
      if (messages.length === most) return { messages, left: groups.length - index };
    }
    current.push(...group);
    used += size;
  }
  if (current.length > 0) messages.push(current);
  return { messages, left: 0 };
}

function nonEmpty(text: Mrkdwn): string {
  return text.trim() === '' ? '–' : text;
}
