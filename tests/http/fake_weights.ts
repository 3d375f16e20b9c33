/**
 * Weights that change as the verbs say, and remember what they were asked.
 * @module
 */
import {
  type LoadedWeights,
  type PauseMode,
  type UpdatableWeights,
  WeightsError,
  type WeightsFolder,
  type WeightsStatus,
} from "../../src/engine/weights.ts";
import type { FakeReplica } from "./fake_replica.ts";

/** The weights of a {@linkcode FakeReplica}, whose chunks name the current version. */
export class FakeWeights implements UpdatableWeights {
  weights: WeightsStatus;
  /** Verbs with their arguments, in order. */
  readonly calls: unknown[][] = [];
  /** Thrown by every verb. */
  refuses: Error | null = null;
  readonly #replica: FakeReplica;

  constructor(replica: FakeReplica) {
    this.#replica = replica;
    const current = { version: replica.weightVersion, model: "/models/one" };
    this.weights = { paused: null, current, prepared: null, previous: null };
  }

  pause(mode: PauseMode): Promise<void> {
    return this.#later(["pause", mode], () => this.#set({ paused: mode }));
  }

  resume(): void {
    this.#now(["resume"], () => this.#set({ paused: null }));
  }

  prepareWeights(folder: WeightsFolder): Promise<LoadedWeights> {
    return this.#later(["prepare", folder], () => {
      if (this.weights.prepared ?? this.weights.previous) {
        throw new WeightsError("Cannot prepare weights as others are kept", { reason: "conflict" });
      }
      const prepared = loaded(folder);
      this.#set({ prepared });
      return prepared;
    });
  }

  activateWeights(): LoadedWeights {
    return this.#now(["activate"], () => {
      const { current, prepared } = this.weights;
      this.#set({ current: prepared!, previous: current, prepared: null });
      return prepared!;
    });
  }

  revertWeights(): LoadedWeights {
    return this.#now(["revert"], () => {
      const { current, previous } = this.weights;
      this.#set({ current: previous!, prepared: current, previous: null });
      return previous!;
    });
  }

  releaseWeights(): Promise<void> {
    return this.#later(["release"], () => this.#set({ prepared: null, previous: null }));
  }

  updateWeights(folder: WeightsFolder): Promise<LoadedWeights> {
    return this.#later(["update", folder], () => {
      const current = loaded(folder);
      this.#set({ current });
      return current;
    });
  }

  checkWeights(
    set: "current" | "prepared",
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]> {
    return this.#later(["check", set, prompts, maxTokens], () => prompts.map((ids) => [...ids, 7]));
  }

  #set(changes: Partial<WeightsStatus>): void {
    this.weights = { ...this.weights, ...changes };
    this.#replica.weightVersion = this.weights.current.version;
  }

  #now<T>(call: unknown[], run: () => T): T {
    this.calls.push(call);
    if (this.refuses !== null) throw this.refuses;
    return run();
  }

  async #later<T>(call: unknown[], run: () => T): Promise<T> {
    await Promise.resolve();
    return this.#now(call, run);
  }
}

function loaded({ model, version = `version of ${model}` }: WeightsFolder): LoadedWeights {
  return { version, model };
}
