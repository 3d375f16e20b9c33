/**
 * The error of everything that turns text into tokens and back.
 * @module
 */

/**
 * Why text could not be processed: `load` (a file of the model folder), `input` (what the caller
 * gave), `template` (the chat template refused or failed), `timeout`, `worker` (it died), `closed`.
 */
export type TextErrorReason = "load" | "input" | "template" | "timeout" | "worker" | "closed";

/** Text could not be tokenized, rendered or decoded. */
export class TextError extends Error {
  /** Which kind of failure; `input` and `template` are the request's fault. */
  readonly reason: TextErrorReason;

  /** Says what failed, and of which kind it is. */
  constructor(message: string, reason: TextErrorReason, options?: ErrorOptions) {
    super(message, options);
    this.name = "TextError";
    this.reason = reason;
  }
}

/** Message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
