/** How a reading is named among the templates of an agent: what is run or read, how it is reduced, and what it needs. */
export function templateOf(
  reading:
    | { readonly argv: readonly string[]; readonly tally?: string | undefined; readonly needs?: string | undefined }
    | { readonly files: readonly string[]; readonly lines?: string | undefined },
): string {
  return 'argv' in reading
    ? JSON.stringify([reading.argv, reading.tally ?? null, reading.needs ?? null])
    : JSON.stringify([reading.files, reading.lines ?? null]);
}
