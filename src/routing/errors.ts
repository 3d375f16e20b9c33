/**
 * Why a request found no replica.
 * @module
 */

/** `none`: no replica can serve; `full`: too many wait; `deadline`: it has waited for too long. */
export type NoReplicaReason = "none" | "full" | "deadline";

/** No replica takes the request. HTTP 503, or 429 where too many wait. */
export class NoReplicaError extends Error {
  /** Which of the causes it was. */
  readonly reason: NoReplicaReason;
  /** Says what is wrong with the replicas. */
  constructor(message: string, reason: NoReplicaReason) {
    super(message);
    this.name = "NoReplicaError";
    this.reason = reason;
  }
}
