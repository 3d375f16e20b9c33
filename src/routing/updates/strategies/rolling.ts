/**
 * A few replicas after the other.
 * @module
 */
import { ConnectionSplit } from "../../traffic_split.ts";
import type { UpdateRun } from "../update_run.ts";
import { forEachAtOnce } from "../waiting.ts";
import { GRACE_MS, type UpdateStrategy } from "./strategy.ts";

/** Options of {@linkcode RollingStrategy}. */
export interface RollingOptions {
  /** Replicas that are out at once. Default 1. */
  readonly maxUnavailable?: number;
  /** Time that requests of a replica have to end, in milliseconds. Default 600000. */
  readonly graceMs?: number;
}

/**
 * Some replicas at a time are drained, load the new weights in place, and come back. Versions never go back on a
 * connection.
 */
export class RollingStrategy implements UpdateStrategy {
  /** See {@linkcode UpdateStrategy.name}. */
  readonly name = "rolling";
  /** See {@linkcode UpdateStrategy.minReplicas}: one serves while others change. */
  readonly minReplicas: number;
  /** See {@linkcode UpdateStrategy.rollbackWidth}. */
  readonly rollbackWidth: number;
  /** See {@linkcode UpdateStrategy.keepMs}. */
  readonly keepMs = 0;
  readonly #graceMs: number;

  /** Without parameters that must be given. */
  constructor({ maxUnavailable = 1, graceMs = GRACE_MS }: RollingOptions = {}) {
    this.minReplicas = maxUnavailable + 1;
    this.rollbackWidth = maxUnavailable;
    this.#graceMs = graceMs;
  }

  /** See {@linkcode UpdateStrategy.run}. */
  async run(run: UpdateRun): Promise<void> {
    run.fleet.divide(new ConnectionSplit(run.fresh));
    await forEachAtOnce(
      run.replicas,
      this.rollbackWidth,
      (replica) => run.replaceAside(replica, this.#graceMs),
    );
  }
}
