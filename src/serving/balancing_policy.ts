/**
 * How a router chooses among replicas.
 * @module
 */
import type { GenerateRequest } from "../engine/types.ts";

/** A replica that could take a request. */
export interface ReplicaLoad {
  /** Number of the replica, from 0. */
  readonly index: number;
  /** Requests that the router has sent to it and that have not ended. */
  readonly active: number;
}

/** Chooses a replica for a request. A policy keeps no other state than its own. */
export interface BalancingPolicy {
  /** Name on the command line and in the metrics. */
  readonly name: string;
  /** The chosen one of `candidates` (healthy, never empty, in order of their index). */
  select(candidates: readonly ReplicaLoad[], request: GenerateRequest): ReplicaLoad;
}

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
  /** Name on the command line and in the metrics. */
  readonly name = "least-loaded";

  /** The least loaded candidate. */
  select(candidates: readonly ReplicaLoad[]): ReplicaLoad {
    return candidates.reduce((best, load) => load.active < best.active ? load : best);
  }
}
