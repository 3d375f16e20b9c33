/**
 * Session affinity.
 * @module
 */
import type { BalancingPolicy, ReplicaLoad, RoutedRequest } from "../balancing_policy.ts";
import { uniform } from "../uniform.ts";
import { LeastLoadedPolicy } from "./least_loaded.ts";

/**
 * Requests of a session go to the same replica, by weighted rendezvous hashing (Thaler, Ravishankar 1998):
 * when a replica leaves, only its sessions move, and when one joins, only those that it takes. Requests
 * without a session go to the least loaded one.
 *
 * @example
 * ```ts
 * import { SessionAffinityPolicy } from "@weft/weft/server";
 * const policy = new SessionAffinityPolicy();
 * const loads = ["a", "b", "c"].map((id) => ({ id, weight: 1, active: 0, tokens: 0 }));
 * const request = { tokens: 1, stream: true, session: "user 7", prefix: [] };
 * console.log(policy.select(loads, request).id === policy.select(loads, request).id); // true
 * ```
 */
export class SessionAffinityPolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "session-affinity";
  readonly #fallback = new LeastLoadedPolicy();

  /** The session's candidate. */
  select(candidates: readonly ReplicaLoad[], { session }: RoutedRequest): ReplicaLoad {
    if (session === null) return this.#fallback.select(candidates);
    let chosen = candidates[0];
    let highest = -Infinity;
    for (const load of candidates) {
      const score = -load.weight / Math.log(uniform(`${session}\0${load.id}`));
      if (score > highest) [chosen, highest] = [load, score];
    }
    return chosen;
  }
}
