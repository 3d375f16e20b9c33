/**
 * Least-loaded balancing.
 * @module
 */
import { type BalancingPolicy, isLessLoaded, type ReplicaLoad } from "../balancing_policy.ts";

/**
 * The replica with the fewest requests under way for its weight, among those the one with the fewest
 * tokens; equals in turn. The choice where nothing else is known.
 *
 * @example
 * ```ts
 * import { LeastLoadedPolicy } from "@weft/weft/server";
 * const policy = new LeastLoadedPolicy();
 * const loads = [{ id: "a", active: 3 }, { id: "b", active: 2 }]
 *   .map((load) => ({ ...load, weight: 1, tokens: 0 }));
 * console.log(policy.select(loads).id); // b
 * ```
 */
export class LeastLoadedPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "least-loaded";
  #turn = 0;

  /** The least loaded candidate. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    // Equals would otherwise all go to the first of a fleet that has little to do.
    const first = this.#turn++ % candidates.length;
    let chosen = candidates[first];
    for (let i = 1; i < candidates.length; i++) {
      const load = candidates[(first + i) % candidates.length];
      if (isLessLoaded(load, chosen)) chosen = load;
    }
    return chosen;
  }
}
