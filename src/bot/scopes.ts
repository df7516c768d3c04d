/** The scopes that the bot token of the Slack app needs: those of both manifests under deploy/slack. What for: docs/slack.md. */
export const BOT_SCOPES = [
  'commands',
  'chat:write',
  'users:read',
  'usergroups:read',
  'channels:read',
  'channels:history',
  'groups:read',
  'groups:history',
  'im:read',
  'im:history',
  'files:write',
] as const;
