/**
 * Balancing by what replicas have in their prefix caches.
 * @module
 */
import {
  type BalancingPolicy,
  relativeLoad,
  type ReplicaLoad,
  type RoutedRequest,
} from "../balancing_policy.ts";
import { LeastLoadedPolicy } from "./least_loaded.ts";

/** Options of {@linkcode PrefixAwarePolicy}. */
export interface PrefixAwareOptions {
  /**
   * Load that a replica may have at most for its prefix to count, as a multiple of the candidates'
   * average. At least 1; default 1.25.
   */
  readonly loadBound?: number;
  /** Parts of prompts that are remembered for each replica, the latest ones. Default 16384. */
  readonly partsPerReplica?: number;
}

/**
 * The replica that has seen most of the prompt's beginning, unless it has more to do than `loadBound`
 * times the average (consistent hashing with bounded loads: Mirrokni, Thorup, Zadimoghaddam 2016); where
 * nothing was seen, the least loaded one. What replicas have cached is not asked: it is what was sent to
 * them lately.
 *
 * @example
 * ```ts
 * import { PrefixAwarePolicy, prefixHashes } from "@weft/weft/server";
 * const policy = new PrefixAwarePolicy();
 * const request = { tokens: 9, stream: true, session: null, prefix: prefixHashes("A long system prompt", 8) };
 * policy.sent("b", request);
 * const loads = ["a", "b"].map((id) => ({ id, weight: 1, active: 0, tokens: 0 }));
 * console.log(policy.select(loads, request).id); // b
 * ```
 */
export class PrefixAwarePolicy implements BalancingPolicy {
  /** See {@linkcode BalancingPolicy.name}. */
  readonly name = "prefix-aware";
  readonly #loadBound: number;
  readonly #partsPerReplica: number;
  readonly #fallback = new LeastLoadedPolicy();
  /** Hashes that each replica has seen, the latest last: a Set keeps the order of insertion. */
  readonly #seen = new Map<string, Set<number>>();

  /** Throws RangeError when the bound is below 1, as no replica might be under it. */
  constructor(options: PrefixAwareOptions = {}) {
    this.#loadBound = options.loadBound ?? 1.25;
    this.#partsPerReplica = options.partsPerReplica ?? 16_384;
    if (!(this.#loadBound >= 1)) {
      throw new RangeError(
        `Cannot balance by prefixes as the load bound must be at least 1: ${this.#loadBound}`,
      );
    }
  }

  /** The candidate with the longest known prefix among those that may take more. */
  select(candidates: readonly ReplicaLoad[], request: RoutedRequest): ReplicaLoad {
    const active = candidates.reduce((sum, load) => sum + load.active, 0);
    const weight = candidates.reduce((sum, load) => sum + load.weight, 0);
    // With the request that is to be placed, or no replica could take the first one.
    const bound = this.#loadBound * (active + 1) / weight;
    let longest = 0;
    let holders: ReplicaLoad[] = [];
    for (const load of candidates) {
      if (relativeLoad(load) > bound) continue;
      const length = this.#knownParts(load.id, request.prefix);
      if (length > longest) [longest, holders] = [length, []];
      if (length === longest && length > 0) holders.push(load);
    }
    return this.#fallback.select(holders.length > 0 ? holders : candidates);
  }

  /** Remembers that the replica sees this prompt. */
  sent(id: string, { prefix }: RoutedRequest): void {
    let seen = this.#seen.get(id);
    if (seen === undefined) this.#seen.set(id, seen = new Set());
    for (const hash of prefix) {
      seen.delete(hash);
      seen.add(hash);
    }
    for (const oldest of seen) {
      if (seen.size <= this.#partsPerReplica) break;
      seen.delete(oldest);
    }
  }

  /** Forgets what the replica has seen. */
  left(id: string): void {
    this.#seen.delete(id);
  }

  #knownParts(id: string, prefix: readonly number[]): number {
    const seen = this.#seen.get(id);
    if (seen === undefined) return 0;
    let parts = 0;
    while (parts < prefix.length && seen.has(prefix[parts])) parts++;
    return parts;
  }
}
