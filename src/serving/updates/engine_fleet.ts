/**
 * One engine of this process under an update.
 * @module
 */
import type { UpdatableWeights } from "../../engine/weights.ts";
import type {
  ReplicaWeights,
  ReplicaWeightsStatus,
  UpdatableReplica,
  UpdateSource,
} from "../../routing/updates/updatable_replica.ts";
import type { UpdateFleet } from "../../routing/updates/update_fleet.ts";

/** An engine as a fleet of one replica, which always serves: strategies that need two refuse it. */
export class EngineFleet implements UpdateFleet {
  /** See {@linkcode UpdateFleet.replicas}. */
  readonly replicas: readonly UpdatableReplica[];
  readonly #weights: UpdatableWeights;
  #paused: Promise<void> | null = null;

  /** For the engine that `weights` are of. */
  constructor(weights: UpdatableWeights) {
    this.#weights = weights;
    this.replicas = [new EngineReplica(weights, () => this.#paused !== null)];
  }

  /** See {@linkcode UpdateFleet.hold}. */
  hold(): Disposable {
    this.#paused = this.#weights.pause("finish");
    this.#paused.catch(() => {}); // Whoever waits for it is told.
    return {
      [Symbol.dispose]: () => {
        this.#paused = null;
        this.#weights.resume();
      },
    };
  }

  /** See {@linkcode UpdateFleet.setAside}. Requests wait in the engine while it changes. */
  setAside(): void {}

  /** See {@linkcode UpdateFleet.quiet}. */
  async quiet(): Promise<void> {
    await this.#paused;
  }

  /** See {@linkcode UpdateFleet.putBack}. */
  putBack(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** See {@linkcode UpdateFleet.serves}. */
  serves(): boolean {
    return true;
  }

  /** See {@linkcode UpdateFleet.divide}. There is nobody to divide among. */
  divide(): void {}

  /** See {@linkcode UpdateFleet.observe}. Only strategies that need two replicas look. */
  observe(): Disposable {
    return { [Symbol.dispose]() {} };
  }

  /** See {@linkcode UpdateFleet.commit}. Whoever starts the process again says what it serves. */
  commit(): void {}
}

class EngineReplica implements UpdatableReplica {
  readonly id = "engine";
  readonly #weights: UpdatableWeights;
  readonly #isHeld: () => boolean;

  constructor(weights: UpdatableWeights, isHeld: () => boolean) {
    this.#weights = weights;
    this.#isHeld = isHeld;
  }

  // deno-lint-ignore require-await -- what an engine throws must reject
  async weights(): Promise<ReplicaWeightsStatus> {
    return this.#weights.weights;
  }

  pause(mode: "finish" | "abort" | "hold"): Promise<void> {
    return this.#weights.pause(mode);
  }

  // deno-lint-ignore require-await -- as above
  async resume(): Promise<void> {
    // A hold is a pause of the same engine, and ends it.
    if (!this.#isHeld()) this.#weights.resume();
  }

  prepare(source: UpdateSource): Promise<ReplicaWeights> {
    return this.#weights.prepareWeights(source);
  }

  // deno-lint-ignore require-await -- as above
  async activate(): Promise<ReplicaWeights> {
    return this.#weights.activateWeights();
  }

  // deno-lint-ignore require-await -- as above
  async revert(): Promise<ReplicaWeights> {
    return this.#weights.revertWeights();
  }

  release(): Promise<void> {
    return this.#weights.releaseWeights();
  }

  update(source: UpdateSource): Promise<ReplicaWeights> {
    return this.#weights.updateWeights(source);
  }

  check(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]> {
    return this.#weights.checkWeights(set, prompts, maxTokens);
  }
}
