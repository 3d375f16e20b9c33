/**
 * Round-robin balancing.
 * @module
 */
import type { BalancingPolicy, ReplicaLoad } from "../balancing_policy.ts";

/**
 * Replicas in turn, whatever they have to do. Good where requests cost the same; a floor to measure
 * others by.
 *
 * @example
 * ```ts
 * import { RoundRobinPolicy } from "@weft/weft/server";
 * const policy = new RoundRobinPolicy();
 * const loads = ["a", "b"].map((id) => ({ id, weight: 1, active: 0, tokens: 0 }));
 * console.log([1, 2, 3].map(() => policy.select(loads).id)); // [ "a", "b", "a" ]
 * ```
 */
export class RoundRobinPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "round-robin";
  readonly #turns = new Map<string, number>();
  #turn = 0;

  /** The candidate whose last turn is the longest ago. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    let chosen = candidates[0];
    for (const load of candidates) {
      if (this.#lastTurn(load) < this.#lastTurn(chosen)) chosen = load;
    }
    this.#turns.set(chosen.id, ++this.#turn);
    return chosen;
  }

  /** Forgets the replica's turn. */
  left(id: string): void {
    this.#turns.delete(id);
  }

  #lastTurn({ id }: ReplicaLoad): number {
    return this.#turns.get(id) ?? 0;
  }
}
