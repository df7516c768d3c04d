/** The command line was used wrongly: exit status 3. The message says what was wrong and what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
