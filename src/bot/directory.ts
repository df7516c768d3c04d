import { z } from 'zod';
import { fail, ok, type Result } from '../model/result.ts';
import type { SlackCall, SlackFault } from './slack-api.ts';

const UserReply = z.object({
  user: z.object({
    id: z.string(),
    team_id: z.string().optional(),
    enterprise_user: z.object({ enterprise_id: z.string() }).optional(),
    deleted: z.boolean().default(false),
    is_bot: z.boolean().default(false),
    is_app_user: z.boolean().default(false),
    is_restricted: z.boolean().default(false),
    is_ultra_restricted: z.boolean().default(false),
    is_stranger: z.boolean().default(false),
    is_invited_user: z.boolean().default(false),
  }),
});
/** What Slack says about a user, as far as it matters here. */
export type SlackUser = z.infer<typeof UserReply>['user'];

const ChannelReply = z.object({
  channel: z.object({
    id: z.string(),
    is_member: z.boolean().default(false),
    is_im: z.boolean().default(false),
    is_archived: z.boolean().default(false),
    is_ext_shared: z.boolean().default(false),
    is_pending_ext_shared: z.boolean().default(false),
  }),
});
/** What Slack says about a channel, as far as it matters here. */
export type SlackChannel = z.infer<typeof ChannelReply>['channel'];

const GroupReply = z.object({ users: z.array(z.string()) });

/** Looks people and channels up in Slack, and remembers the answers for a while. */
export type Directory = {
  readonly user: (id: string) => Promise<Result<SlackUser, SlackFault>>;
  readonly channel: (id: string) => Promise<Result<SlackChannel, SlackFault>>;
  readonly group: (id: string) => Promise<Result<readonly string[], SlackFault>>;
};

/**
 * Makes a directory. Answers are remembered for `rememberMs`; failures, and that netcheck is not in a channel, are not:
 * whoever puts that right is not kept waiting. Many who ask for the same thing at once share one call.
 */
export function createDirectory(call: SlackCall, rememberMs: number, now: () => number): Directory {
  const user = remembered((id) => read(call, 'users.info', { user: id }, UserReply, (reply) => reply.user), { rememberMs, now });
  const channel = remembered((id) => read(call, 'conversations.info', { channel: id }, ChannelReply, (reply) => reply.channel), {
    rememberMs,
    now,
    keep: (found) => found.is_member || found.is_im,
  });
  const group = remembered((id) => read(call, 'usergroups.users.list', { usergroup: id }, GroupReply, (reply) => reply.users), {
    rememberMs,
    now,
  });
  return { user, channel, group };
}

async function read<R, T>(
  call: SlackCall,
  method: string,
  parameters: Record<string, unknown>,
  schema: z.ZodType<R>,
  pick: (reply: R) => T,
): Promise<Result<T, SlackFault>> {
  const reply = await call(method, parameters);
  if (!reply.ok) return reply;
  const parsed = schema.safeParse(reply.value);
  return parsed.success
    ? ok(pick(parsed.data))
    : fail({ kind: 'unknown', message: `${method} gave an answer of an unknown form` });
}

function remembered<T>(
  look: (id: string) => Promise<Result<T, SlackFault>>,
  options: { readonly rememberMs: number; readonly now: () => number; readonly keep?: (found: T) => boolean },
): (id: string) => Promise<Result<T, SlackFault>> {
  const known = new Map<string, { readonly until: number; readonly result: Promise<Result<T, SlackFault>> }>();
  return async (id) => {
    const found = known.get(id);
    if (found !== undefined && found.until > options.now()) return found.result;
    const result = look(id);
    const entry = { until: options.now() + options.rememberMs, result };
    known.set(id, entry);
    const answer = await result;
    const worthIt = answer.ok && (options.keep?.(answer.value) ?? true);
    if (!worthIt && known.get(id) === entry) known.delete(id);
    if (known.size > 5_000) for (const [key, { until }] of known) if (until <= options.now()) known.delete(key);
    return answer;
  };
}
