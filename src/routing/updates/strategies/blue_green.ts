/**
 * New weights beside the old ones, and a switch.
 * @module
 */
import type { UpdateRun } from "../update_run.ts";
import { forEachAtOnce } from "../waiting.ts";
import type { UpdateStrategy } from "./strategy.ts";

/** Options of {@linkcode BlueGreenStrategy}. */
export interface BlueGreenOptions {
  /** Time that the old weights stay loaded, so that one can switch back at once, in milliseconds. Default 0. */
  readonly keepMs?: number;
}

/**
 * Every replica loads the new weights beside the old ones, which serve, and is checked; then all switch while
 * requests wait for a moment. What runs ends on the old weights. Needs memory for both.
 */
export class BlueGreenStrategy implements UpdateStrategy {
  /** See {@linkcode UpdateStrategy.name}. */
  readonly name = "blue-green";
  /** See {@linkcode UpdateStrategy.minReplicas}. */
  readonly minReplicas = 1;
  /** See {@linkcode UpdateStrategy.rollbackWidth}: only such as have lost the old weights load them. */
  readonly rollbackWidth = 1;
  /** See {@linkcode UpdateStrategy.keepMs}. */
  readonly keepMs: number;

  /** Without parameters that must be given. */
  constructor({ keepMs = 0 }: BlueGreenOptions = {}) {
    this.keepMs = keepMs;
  }

  /** See {@linkcode UpdateStrategy.run}. */
  async run(run: UpdateRun): Promise<void> {
    const { replicas } = run;
    await forEachAtOnce(replicas, replicas.length, async (replica) => {
      await run.prepare(replica);
      await run.check(replica, "prepared");
    });
    run.hold();
    await forEachAtOnce(replicas, replicas.length, (replica) => run.activate(replica));
    run.log.add("switched", { message: "all replicas have the new weights" });
  }
}
