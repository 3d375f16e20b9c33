/**
 * The power of two choices.
 * @module
 */
import { type BalancingPolicy, isLessLoaded, type ReplicaLoad } from "../balancing_policy.ts";

/** Options of {@linkcode PowerOfTwoPolicy}. */
export interface PowerOfTwoOptions {
  /** Numbers from 0 up to, but not including, 1. Default `Math.random`. */
  readonly random?: () => number;
}

/**
 * The less loaded of two replicas taken at random (Mitzenmacher 2001): nearly as even as the least
 * loaded of all, and several routers that know only their own requests do not all run to the same one.
 *
 * @example
 * ```ts
 * import { PowerOfTwoPolicy } from "@weft/weft/server";
 * const policy = new PowerOfTwoPolicy();
 * const loads = [{ id: "a", active: 3 }, { id: "b", active: 2 }]
 *   .map((load) => ({ ...load, weight: 1, tokens: 0 }));
 * console.log(policy.select(loads).id); // b
 * ```
 */
export class PowerOfTwoPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "power-of-two";
  readonly #random: () => number;

  /** Draws from `random`. */
  constructor(options: PowerOfTwoOptions = {}) {
    this.#random = options.random ?? Math.random;
  }

  /** The less loaded of two candidates. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    const count = candidates.length;
    if (count === 1) return candidates[0];
    const first = Math.floor(this.#random() * count);
    const second = (first + 1 + Math.floor(this.#random() * (count - 1))) % count;
    const [a, b] = [candidates[first], candidates[second]];
    return isLessLoaded(b, a) ? b : a;
  }
}
