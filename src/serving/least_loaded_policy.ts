/**
 * Least-loaded balancing.
 * @module
 */
import type { BalancingPolicy, ReplicaLoad } from "./balancing_policy.ts";

/**
 * The replica with the fewest active requests; the lowest index among equals.
 *
 * @example
 * ```ts
 * import { LeastLoadedPolicy } from "@weft/weft/server";
 * const policy = new LeastLoadedPolicy();
 * const loads = [{ index: 0, active: 3 }, { index: 1, active: 2 }];
 * console.log(policy.select(loads).index); // 1
 * ```
 */
export class LeastLoadedPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "least-loaded";

  /** The least loaded candidate. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    return candidates.reduce((best, load) => load.active < best.active ? load : best);
  }
}
