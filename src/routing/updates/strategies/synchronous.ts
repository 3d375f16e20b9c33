/**
 * All replicas at once, while requests wait.
 * @module
 */
import type { UpdateRun } from "../update_run.ts";
import { forEachAtOnce } from "../waiting.ts";
import { GRACE_MS, type UpdateStrategy } from "./strategy.ts";

/** Options of {@linkcode SynchronousStrategy}. */
export interface SynchronousOptions {
  /** Time that running requests have to end, in milliseconds. Default 600000. */
  readonly graceMs?: number;
}

/**
 * Requests wait, those that run end, all replicas load, requests go on: no two versions ever serve at a time, no
 * memory is needed for two, and nobody is answered while weights are loaded.
 */
export class SynchronousStrategy implements UpdateStrategy {
  /** See {@linkcode UpdateStrategy.name}. */
  readonly name = "synchronous";
  /** See {@linkcode UpdateStrategy.minReplicas}. */
  readonly minReplicas = 1;
  /** See {@linkcode UpdateStrategy.rollbackWidth}. */
  readonly rollbackWidth: number = Infinity;
  /** See {@linkcode UpdateStrategy.keepMs}. */
  readonly keepMs = 0;
  readonly #graceMs: number;

  /** Without parameters that must be given. */
  constructor({ graceMs = GRACE_MS }: SynchronousOptions = {}) {
    this.#graceMs = graceMs;
  }

  /** See {@linkcode UpdateStrategy.run}. */
  async run(run: UpdateRun): Promise<void> {
    const { replicas } = run;
    run.hold();
    await forEachAtOnce(replicas, replicas.length, async (replica) => {
      await run.quiet(replica, this.#graceMs);
      await run.replace(replica);
      run.fresh.add(replica.id);
    });
  }
}
