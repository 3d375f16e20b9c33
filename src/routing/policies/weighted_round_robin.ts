/**
 * Weighted round-robin balancing.
 * @module
 */
import type { BalancingPolicy, ReplicaLoad } from "../balancing_policy.ts";

/**
 * Replicas in turns as frequent as their weights, spread evenly (nginx's smooth weighted round-robin):
 * weights 5, 1, 1 give a a b a c a a and never five times `a` in a row.
 *
 * @example
 * ```ts
 * import { WeightedRoundRobinPolicy } from "@weft/weft/server";
 * const policy = new WeightedRoundRobinPolicy();
 * const loads = [{ id: "a", weight: 2 }, { id: "b", weight: 1 }]
 *   .map((load) => ({ ...load, active: 0, tokens: 0 }));
 * console.log([1, 2, 3].map(() => policy.select(loads).id)); // [ "a", "b", "a" ]
 * ```
 */
export class WeightedRoundRobinPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "weighted-round-robin";
  readonly #credit = new Map<string, number>();

  /** The candidate that is owed most. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    let chosen = candidates[0];
    let most = -Infinity;
    let total = 0;
    for (const load of candidates) {
      const credit = (this.#credit.get(load.id) ?? 0) + load.weight;
      this.#credit.set(load.id, credit);
      total += load.weight;
      if (credit > most) [chosen, most] = [load, credit];
    }
    this.#credit.set(chosen.id, most - total);
    return chosen;
  }

  /** Forgets what the replica was owed. */
  left(id: string): void {
    this.#credit.delete(id);
  }
}
