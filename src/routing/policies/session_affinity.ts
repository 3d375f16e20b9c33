/**
 * Session affinity.
 * @module
 */
import type { BalancingPolicy, ReplicaLoad, RoutedRequest } from "../balancing_policy.ts";
import { prefixHashes } from "../prefix_hash.ts";
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

/** A number between 0 and 1, neither of them, that looks drawn at random for each text. */
function uniform(text: string): number {
  const [hash] = prefixHashes(text, text.length);
  // The last units of a text reach few bits of an FNV sum: mixed as in MurmurHash3's end (Appleby).
  let bits = Math.imul((hash % 2 ** 32) ^ (hash / 2 ** 32), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 2 ** 32 + 2 ** -33;
}
