/**
 * The engine's view of its ranks: plans in, results out, in order.
 * @module
 */
import type { StepHandle, StepPlan } from "./step_plan.ts";

/** Runs plans on the ranks of one replica. */
export interface Executor extends AsyncDisposable {
  /**
   * Hands a plan to every rank and returns at once; the device may still be busy with earlier ones.
   * The caller keeps no more plans under way than the executor was made for.
   */
  execute(plan: StepPlan): StepHandle;
  /** Resolves with the reason as soon as the ranks can't go on; stays pending otherwise. */
  readonly failed: Promise<string>;
}
