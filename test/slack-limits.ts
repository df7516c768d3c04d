import { z } from 'zod';

const visible = (most: number) => z.string().regex(/\S/).max(most);
const plainText = (most: number) =>
  z.strictObject({ type: z.literal('plain_text'), text: visible(most), emoji: z.boolean().optional() });
const markup = (most: number) => z.strictObject({ type: z.literal('mrkdwn'), text: visible(most), verbatim: z.literal(true) });

const Button = z.strictObject({
  type: z.literal('button'),
  action_id: z.string().min(1).max(255),
  text: plainText(75),
  value: z.string().max(2_000),
  style: z.enum(['primary', 'danger']).optional(),
  confirm: z
    .strictObject({ title: plainText(100), text: plainText(300), confirm: plainText(30), deny: plainText(30) })
    .optional(),
});

const Block = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('section'), text: markup(3_000) }),
  z.strictObject({ type: z.literal('context'), elements: z.array(markup(3_000)).min(1).max(10) }),
  z.strictObject({
    type: z.literal('rich_text'),
    elements: z
      .array(
        z.strictObject({
          type: z.literal('rich_text_preformatted'),
          elements: z.array(z.strictObject({ type: z.literal('text'), text: visible(3_000) })).min(1),
        }),
      )
      .min(1),
  }),
  z.strictObject({ type: z.literal('actions'), block_id: z.string().max(255), elements: z.array(Button).min(1).max(25) }),
]);

const Message = z.strictObject({ text: visible(4_000), blocks: z.array(Block).max(50) });

/** What Slack would refuse about a message, or what netcheck must not let through. Empty when all is well. */
export function slackFaults(message: unknown): string[] {
  const read = Message.safeParse(message);
  if (!read.success) return read.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
  const faults: string[] = [];
  const all = JSON.stringify(read.data.blocks).length;
  if (all > 13_200) faults.push(`all blocks together have ${all} characters`);
  const actionIds = read.data.blocks.flatMap((block) =>
    block.type === 'actions' ? block.elements.map((one) => one.action_id) : [],
  );
  if (new Set(actionIds).size < actionIds.length) faults.push('an action_id is used twice');
  for (const text of [read.data.text, ...markups(read.data.blocks), ...literals(read.data.blocks)]) {
    if (/[\p{Cc}\p{Cf}\p{Cs}]/u.test(text.replace(/[\n\t]/g, '')))
      faults.push(`an invisible or control character in ${JSON.stringify(text.slice(0, 80))}`);
  }
  for (const text of markups(read.data.blocks)) {
    for (const [tag] of text.matchAll(/<[^>]*>?/g)) {
      if (
        !/^<(@[UW][A-Z0-9]+|#[CDG][A-Z0-9]+|!subteam\^S[A-Z0-9]+|!date\^\d+\^(\{date_short_pretty\} )?\{time\}\|(\d{4}-\d\d-\d\d )?\d\d:\d\d UTC|https:\/\/[\w./-]+\|[^<>|]+)>$/.test(
          tag,
        )
      ) {
        faults.push(`a live ${tag}`);
      }
    }
    if (/&(?!(amp|lt|gt);)/.test(text)) faults.push(`an escape cut in half in ${JSON.stringify(text.slice(-40))}`);
  }
  return faults;
}

function markups(blocks: z.infer<typeof Block>[]): string[] {
  return blocks.flatMap((block) => {
    if (block.type === 'section') return [block.text.text];
    return block.type === 'context' ? block.elements.map((element) => element.text) : [];
  });
}

function literals(blocks: z.infer<typeof Block>[]): string[] {
  return blocks.flatMap((block) => {
    if (block.type === 'rich_text') return block.elements.flatMap((element) => element.elements.map((one) => one.text));
    return block.type === 'actions' ? block.elements.map((element) => element.text.text) : [];
  });
}
