/**
 * The replicas of a pool under an update.
 * @module
 */
import type { OutcomeListener, ReplicaPool } from "../replica_pool.ts";
import type { TrafficSplit } from "../traffic_split.ts";
import type { UpdatableReplica, UpdateSource } from "./updatable_replica.ts";
import type { UpdateFleet } from "./update_fleet.ts";

/** What {@linkcode PoolFleet} needs beside a pool. */
export interface PoolFleetOptions<T> {
  /** A replica's verbs. */
  readonly replicaOf: (id: string, target: T) => UpdatableReplica;
  /** Looks after a replica from now on, at once for the first time; resolves with the first result. */
  readonly watch: (id: string) => Promise<void>;
  /** Looks after a replica no more: while it loads it answers no probes. */
  readonly unwatch: (id: string) => void;
  /** See {@linkcode UpdateFleet.commit}. */
  readonly commit: (source: UpdateSource) => void;
}

/** A pool as updates see it. Replicas that wait or change are not probed. */
export class PoolFleet<T> implements UpdateFleet {
  readonly #pool: ReplicaPool<T>;
  readonly #options: PoolFleetOptions<T>;

  /** For the members of `pool`. */
  constructor(pool: ReplicaPool<T>, options: PoolFleetOptions<T>) {
    this.#pool = pool;
    this.#options = options;
  }

  /** See {@linkcode UpdateFleet.replicas}. */
  get replicas(): readonly UpdatableReplica[] {
    return this.#pool.members.map(({ id }) => this.#options.replicaOf(id, this.#pool.target(id)));
  }

  /** See {@linkcode UpdateFleet.hold}. */
  hold(): Disposable {
    const hold = this.#pool.hold();
    const held = this.#pool.members.filter(({ state }) => state !== "draining");
    for (const { id } of held) this.#options.unwatch(id);
    return {
      [Symbol.dispose]: () => {
        hold[Symbol.dispose]();
        for (const { id, state } of this.#pool.members) {
          if (state !== "draining") this.#options.watch(id);
        }
      },
    };
  }

  /** See {@linkcode UpdateFleet.setAside}. */
  setAside(id: string, { returns = true }: { readonly returns?: boolean } = {}): void {
    this.#pool.drain(id, { returns });
    this.#options.unwatch(id);
  }

  /** See {@linkcode UpdateFleet.quiet}. */
  quiet(id: string): Promise<void> {
    return this.#pool.quiet(id);
  }

  /** See {@linkcode UpdateFleet.putBack}. */
  async putBack(id: string): Promise<boolean> {
    await this.#options.watch(id);
    this.#pool.resume(id);
    return this.serves(id);
  }

  /** See {@linkcode UpdateFleet.serves}. */
  serves(id: string): boolean {
    return this.#pool.members.some((member) => member.id === id && member.serves);
  }

  /** See {@linkcode UpdateFleet.divide}. */
  divide(split: TrafficSplit | null): void {
    this.#pool.divide(split);
  }

  /** See {@linkcode UpdateFleet.observe}. */
  observe(listener: OutcomeListener): Disposable {
    return this.#pool.observe(listener);
  }

  /** See {@linkcode UpdateFleet.commit}. */
  commit(source: UpdateSource): void {
    this.#options.commit(source);
  }
}
