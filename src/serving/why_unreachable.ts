/**
 * What a failed fetch says.
 * @module
 */

/** What stands before the reason, and names what the caller names already. */
const SENDING = /^error sending request for url \(\S*\): /;

/** Why `fetch` has failed: its own message says only that it has, and its innermost cause says why. */
export function whyUnreachable(error: unknown): string {
  let reason = error;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  return (reason instanceof Error ? reason.message : String(reason)).replace(SENDING, "");
}
