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
  /** Name that people see, such as `least-loaded`. */
  readonly name: string;
  /** The chosen one of `candidates` (healthy, never empty, in order of their index). */
  select(candidates: readonly ReplicaLoad[], request: GenerateRequest): ReplicaLoad;
}
