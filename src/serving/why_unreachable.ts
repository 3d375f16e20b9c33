/**
 * What a failed fetch says.
 * @module
 */

/** Why `fetch` has failed: its own message says only that it has, and its innermost cause says why. */
export function whyUnreachable(error: unknown): string {
  let reason = error;
  while (reason instanceof Error && reason.cause instanceof Error) reason = reason.cause;
  return reason instanceof Error ? reason.message : String(reason);
}
