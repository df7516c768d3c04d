import { z } from 'zod';
import { BOT_SCOPES } from '../../bot/scopes.ts';
import type { Config } from '../../config.ts';
import { messageOf } from '../../model/text.ts';
import { failed, type Item, isFine, LIMIT_MS, notChecked, quoted, warning } from './item.ts';

const Answer = z.looseObject({ ok: z.boolean(), error: z.string().optional() });
const Who = z.object({ user: z.string(), team: z.string(), bot_id: z.string().optional() });

/** Slack signs requests with its time, and the bot refuses what is older than five minutes. Milliseconds. */
const SKEW = { warns: 60_000, fails: 300_000 } as const;

const SCOPES_PAGE = 'https://api.slack.com/apps → the app → OAuth & Permissions → Bot Token Scopes';

type Asked =
  | { readonly ok: true; readonly answer: z.infer<typeof Answer>; readonly headers: Headers; readonly halfwayMs: number }
  | { readonly ok: false; readonly reason: string };

/** What can be said about Slack with the tokens of a bot. Both calls change nothing. */
export async function checkSlack(slack: NonNullable<Config['slack']>): Promise<readonly Item[]> {
  const [bot, app] = await Promise.all([
    ask(slack.apiUrl, 'auth.test', slack.botToken),
    slack.mode === 'socket' ? ask(slack.apiUrl, 'apps.connections.open', slack.appToken) : null,
  ]);
  return [
    ...judgeBot(bot, slack.apiUrl),
    app === null
      ? notChecked(
          `whether Slack's requests arrive on port ${slack.port} and are signed with NETCHECK_SLACK_SIGNING_SECRET shows only when somebody types a command`,
          '/netcheck status     in Slack, once the bot runs',
        )
      : judgeApp(app, slack.apiUrl),
  ];
}

function judgeBot(bot: Asked, apiUrl: string): Item[] {
  if (!bot.ok) return [unreachable(apiUrl, bot.reason)];
  const { answer, headers, halfwayMs } = bot;
  const clock = judgeClock(headers.get('date'), halfwayMs);
  if (!answer.ok) {
    const said = quoted(answer.error ?? 'an error without a name');
    return [
      failed(
        `Slack refuses the bot token: ${said}`,
        'write the Bot User OAuth Token (xoxb-…, OAuth & Permissions) into NETCHECK_SLACK_BOT_TOKEN, and install the app to the workspace again if it was removed',
      ),
      notChecked('the scopes of the bot token: Slack tells them only for a token that it takes'),
      clock,
    ];
  }
  const who = Who.safeParse(answer);
  const token =
    who.success && who.data.bot_id !== undefined
      ? isFine(`the bot token is that of ${quoted(who.data.user)} in ${quoted(who.data.team)}`)
      : failed(
          'NETCHECK_SLACK_BOT_TOKEN is not the token of a bot',
          'write the Bot User OAuth Token (xoxb-…, OAuth & Permissions) into NETCHECK_SLACK_BOT_TOKEN',
        );
  return [token, judgeScopes(headers.get('x-oauth-scopes')), clock];
}

/** The scopes that Slack says a token has, against those that are needed. */
function judgeScopes(header: string | null): Item {
  if (header === null)
    return notChecked(
      'the scopes of the bot token: the answer has no x-oauth-scopes, as a gateway in between may have taken it out',
    );
  const granted = header.split(',').map((scope) => scope.trim());
  const missing = BOT_SCOPES.filter((scope) => !granted.includes(scope));
  const surplus = granted.filter((scope) => scope !== '' && !BOT_SCOPES.some((one) => one === scope));
  if (missing.length > 0) {
    return failed(
      `the bot token lacks the scopes ${missing.join(', ')}`,
      `add ${missing.join(', ')} at ${SCOPES_PAGE}, then reinstall the app to the workspace`,
    );
  }
  if (surplus.length > 0) {
    return warning(
      `the bot token has scopes that netcheck does not use: ${quoted(surplus.join(', '))}`,
      `remove ${quoted(surplus.join(', '))} at ${SCOPES_PAGE}`,
    );
  }
  return isFine(`the bot token has the ${BOT_SCOPES.length} scopes that are needed, and no others`);
}

/** This machine's clock against the one of Slack's answer, which tells whole seconds. */
function judgeClock(date: string | null, halfwayMs: number): Item {
  const theirs = Date.parse(date ?? '');
  if (Number.isNaN(theirs)) return notChecked("the clock: Slack's answer has no date");
  const skewMs = halfwayMs - theirs - 500;
  const size = Math.abs(skewMs);
  const seconds = Math.round(size / 1000);
  if (size <= SKEW.warns) return isFine(`the clock agrees with Slack's to within ${Math.max(1, seconds)} s`);
  const message = `the clock of this machine is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} Slack's`;
  const fix = 'timedatectl set-ntp true     on this machine';
  if (size <= SKEW.fails) return warning(`${message}; from ${SKEW.fails / 1000} s on, requests are refused`, fix);
  return failed(`${message}: requests that Slack signs are refused as too old`, fix);
}

function judgeApp(app: Asked, apiUrl: string): Item {
  if (!app.ok) return unreachable(apiUrl, app.reason);
  if (app.answer.ok) return isFine('the app-level token opens connections for Socket Mode');
  return failed(
    `Slack refuses the app-level token: ${quoted(app.answer.error ?? 'an error without a name')}`,
    'make a token with the scope connections:write at https://api.slack.com/apps → the app → Basic Information → App-Level Tokens, switch on Socket Mode, and write the token into NETCHECK_SLACK_APP_TOKEN',
  );
}

function unreachable(apiUrl: string, reason: string): Item {
  return failed(
    `Slack cannot be reached at ${apiUrl}: ${quoted(reason)}`,
    `curl -sS ${new URL('api.test', apiUrl).href}     from this machine; it has to say "ok":true`,
  );
}

async function ask(apiUrl: string, method: string, token: string): Promise<Asked> {
  const from = Date.now();
  try {
    const reply = await fetch(new URL(method, apiUrl.endsWith('/') ? apiUrl : `${apiUrl}/`), {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-www-form-urlencoded' },
      redirect: 'error',
      signal: AbortSignal.timeout(LIMIT_MS),
    });
    const halfwayMs = (from + Date.now()) / 2;
    const answer = Answer.safeParse(await reply.json().catch(() => null));
    if (!answer.success) return { ok: false, reason: `HTTP ${reply.status}, and no answer of Slack's` };
    return { ok: true, answer: answer.data, headers: reply.headers, halfwayMs };
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return { ok: false, reason: messageOf(cause) };
  }
}
