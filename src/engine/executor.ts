/**
 * The engine's view of its ranks: plans in, results out, in order.
 * @module
 */
import type { StepPlan, StepResult } from "./step_plan.ts";

/** Runs plans on the ranks of one replica. */
export interface Executor extends AsyncDisposable {
  /**
   * Hands a plan to every rank and returns at once; the device may still be busy with earlier ones. The plan
   * is not looked at later. The caller keeps no more of them under way than the executor was made for.
   */
  execute(plan: StepPlan): void;
  /**
   * Calls `take` with what every plan gives, in their order, from now on; a result stays as it is until `take`
   * returns. Called once, before the first plan.
   */
  receive(take: (result: StepResult) => void): void;
  /** Resolves with the reason as soon as the ranks can't go on; stays pending otherwise. */
  readonly failed: Promise<string>;
}
