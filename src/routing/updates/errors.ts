/**
 * Why an update did not take place.
 * @module
 */

/**
 * `refused`: it can't be done as it was asked for, and nothing was changed; `busy`: another one runs; `failed`: a
 * step failed; `cancelled`: somebody called it off.
 */
export type UpdateErrorReason = "refused" | "busy" | "failed" | "cancelled";

/** An update did not take place. */
export class UpdateError extends Error {
  /** Which of the causes it was. */
  readonly reason: UpdateErrorReason;
  /** The replica that it failed at; null for none. */
  readonly replica: string | null;
  /** Says what happened. */
  constructor(
    message: string,
    options: ErrorOptions & {
      readonly reason: UpdateErrorReason;
      readonly replica?: string | null;
    },
  ) {
    super(message, options);
    this.name = "UpdateError";
    this.reason = options.reason;
    this.replica = options.replica ?? null;
  }
}

/** What an error says, for events and messages. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
