/**
 * Replicas under an update, and the requests that flow to them meanwhile.
 * @module
 */
import type { OutcomeListener } from "../replica_pool.ts";
import type { TrafficSplit } from "../traffic_split.ts";
import type { UpdatableReplica, UpdateSource } from "./updatable_replica.ts";

/** Replicas of one model, as updates see them. */
export interface UpdateFleet {
  /** The replicas as they are now: one that was started again may be another one of the same name. */
  readonly replicas: readonly UpdatableReplica[];
  /** No replica gets a request, and all wait, until disposed. */
  hold(): Disposable;
  /**
   * A replica gets no more requests; where no other one serves they wait for it, unless nobody knows whether it
   * `returns`. Throws RangeError when there is none of that name, as all that follow do.
   */
  setAside(id: string, options?: { readonly returns?: boolean }): void;
  /** Resolves when a replica has ended its requests. */
  quiet(id: string): Promise<void>;
  /** A replica gets requests again. Resolves with whether it serves. */
  putBack(id: string): Promise<boolean>;
  /** Whether a replica takes requests. */
  serves(id: string): boolean;
  /** Divides requests among replicas with new and with old weights. */
  divide(split: TrafficSplit | null): void;
  /** Tells how requests end, until disposed. */
  observe(listener: OutcomeListener): Disposable;
  /** From now on these are the weights that a replica should start with. */
  commit(source: UpdateSource): void;
}
