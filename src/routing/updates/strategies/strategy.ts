/**
 * What a strategy of updates is.
 * @module
 */
import type { UpdateRun } from "../update_run.ts";

/** Time that requests of a replica have to end before its weights change, in milliseconds. */
export const GRACE_MS = 600_000;

/** A way in which replicas get new weights. */
export interface UpdateStrategy {
  /** Name that people see, such as `rolling`. */
  readonly name: string;
  /** Replicas that it needs at least. */
  readonly minReplicas: number;
  /** Replicas that load the old weights at once, should it fail. */
  readonly rollbackWidth: number;
  /** Time that the old weights stay loaded after it has succeeded, in milliseconds, where they do. */
  readonly keepMs: number;
  /** Gives every replica the new weights; throws at the first failure, and leaves the way back to who called it. */
  run(run: UpdateRun): Promise<void>;
}
