/**
 * The sets of weights that an engine holds, and the verbs that change them.
 * @module
 */
import { PauseGate } from "./pause_gate.ts";
import { EngineDeadError } from "./types.ts";
import type { WeightSet, WeightSetLoader } from "./weight_set.ts";
import {
  type LoadedWeights,
  WeightsError,
  type WeightsFolder,
  type WeightsStatus,
} from "./weights.ts";

/**
 * Current, prepared and previous weights. One change is made at a time; a second one that is asked for meanwhile
 * throws WeightsError (`conflict`). An engine dies with its current set, and stays dead: what it was asked to
 * serve is lost already, and whoever supervises it must know. Other sets may die and are dropped.
 */
export class WeightSets<S extends WeightSet, P> implements AsyncDisposable {
  /** Where requests enter, and are paused. */
  readonly gate: PauseGate<S>;
  readonly #loader: WeightSetLoader<S, P>;
  readonly #onRetire: (set: S) => void;
  readonly #loaded = new Set<S>();
  readonly #retiring = new Map<S, Promise<void>>();
  readonly #closing = new AbortController();
  #current: S;
  #prepared: S | null = null;
  #previous: S | null = null;
  /** The change that is being made, for messages; null for none. */
  #change: string | null = null;
  /** Resolves when it has been made, or not. */
  #changed: Promise<unknown> = Promise.resolve();
  #failure: string | null = null;

  /** Serves `current`; `onRetire` is told of each set before it is disposed. */
  constructor(
    current: S,
    { loader, onRetire }: {
      readonly loader: WeightSetLoader<S, P>;
      readonly onRetire: (set: S) => void;
    },
  ) {
    this.#loader = loader;
    this.#onRetire = onRetire;
    this.#current = this.#adopt(current);
    this.gate = new PauseGate(() => this.#current);
  }

  /** What new requests get. */
  get current(): S {
    return this.#current;
  }

  /** All sets that are loaded. */
  get loaded(): ReadonlySet<S> {
    return this.#loaded;
  }

  /** Why nothing can be served any more, or null. */
  get failure(): string | null {
    return this.#failure;
  }

  /** See {@linkcode UpdatableWeights.weights}. */
  get status(): WeightsStatus {
    return {
      paused: this.gate.paused,
      current: this.#current.weights,
      prepared: this.#prepared?.weights ?? null,
      previous: this.#previous?.weights ?? null,
    };
  }

  /** Throws WeightsError (`failed`) when the engine is dead. */
  verifyAlive(verb: string): void {
    if (this.#failure !== null) throw this.#deadError(verb);
  }

  /** See {@linkcode UpdatableWeights.prepareWeights}. */
  prepare(source: WeightsFolder): Promise<LoadedWeights> {
    return this.#exclusively("prepare weights", async (signal) => {
      await this.#verifyAlone("prepare weights");
      const present = this.#current;
      const plan = await this.#loader.verify(source, { present, beside: [present], signal });
      const set = await this.#loader.load(plan, signal);
      if (this.#failure !== null) await set[Symbol.asyncDispose]();
      this.verifyAlive("prepare weights");
      this.#prepared = this.#adopt(set);
      return set.weights;
    });
  }

  /** See {@linkcode UpdatableWeights.activateWeights}. */
  activate(): LoadedWeights {
    this.#verifyIdle("activate weights");
    const prepared = existing(this.#prepared, "activate weights as none are prepared");
    this.#previous = this.#current;
    this.#prepared = null;
    return this.#switchTo(prepared);
  }

  /** See {@linkcode UpdatableWeights.revertWeights}. */
  revert(): LoadedWeights {
    this.#verifyIdle("revert weights");
    const previous = existing(this.#previous, "revert weights as none are kept");
    this.#prepared = this.#current;
    this.#previous = null;
    return this.#switchTo(previous);
  }

  /** See {@linkcode UpdatableWeights.releaseWeights}. */
  release(): Promise<void> {
    return this.#exclusively("release weights", async () => {
      const unused = [this.#prepared, this.#previous].filter((set) => set !== null);
      this.#prepared = null;
      this.#previous = null;
      for (const set of unused) {
        await this.gate.drain(set);
        await this.#retire(set);
      }
    });
  }

  /** See {@linkcode UpdatableWeights.updateWeights}. */
  update(source: WeightsFolder): Promise<LoadedWeights> {
    return this.#exclusively("update weights", async (signal) => {
      await this.#verifyAlone("update weights");
      const present = this.#current;
      const plan = await this.#loader.verify(source, { present, beside: [], signal });
      this.#loader.verifyUnchanged(present);
      this.gate.close();
      try {
        this.gate.admission.moveFrom(present);
        await this.gate.drain(present);
        this.verifyAlive("update weights");
        await this.#replace(present, plan);
      } finally {
        this.gate.reopen();
      }
      return this.#current.weights;
    });
  }

  /** See {@linkcode UpdatableWeights.checkWeights}. */
  check(
    which: "current" | "prepared",
    { prompts, maxTokens }: {
      readonly prompts: readonly (readonly number[])[];
      readonly maxTokens: number;
    },
  ): Promise<readonly (readonly number[])[]> {
    return this.#exclusively("check weights", async () => {
      const set = which === "current"
        ? this.#current
        : existing(this.#prepared, "check weights as none are prepared");
      if (this.gate.standsStill(set)) {
        throw new WeightsError("Cannot check weights as requests are held on them: resume first", {
          reason: "conflict",
        });
      }
      return await set.check(prompts, maxTokens);
    });
  }

  /** Ends the change under way, and all sets; requests that still run or wait fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#die("the engine was stopped");
    this.#closing.abort();
    for (const set of this.#loaded) this.#retire(set);
    // A change under way disposes of what it still loads, as the engine is dead.
    await this.#changed;
    await Promise.all(this.#retiring.values());
  }

  /** Disposes of `old` and loads `plan`, or else what was there. */
  async #replace(old: S, plan: P): Promise<void> {
    const { signal } = this.#closing;
    await this.#retire(old);
    let set: S;
    let failure: unknown = null;
    try {
      set = await this.#loader.load(plan, signal);
    } catch (error) {
      failure = error;
      set = await this.#loadAgain(old, error);
    }
    if (this.#failure !== null) await set[Symbol.asyncDispose]();
    this.verifyAlive("update weights");
    this.#current = this.#adopt(set);
    if (failure !== null) throw failure;
  }

  async #loadAgain(old: S, error: unknown): Promise<S> {
    try {
      return await this.#loader.reload(old, this.#closing.signal);
    } catch (second) {
      const [why, then] = [error, second].map((cause) => this.#loader.explain(cause).message);
      this.#die(`its weights could not be replaced (${why}), nor loaded again (${then})`);
      throw this.#deadError("update weights");
    }
  }

  #switchTo(set: S): LoadedWeights {
    const from = this.#current;
    this.#current = set;
    // What stands still and has given out nothing may as well come from the new weights.
    if (this.gate.paused === "hold") this.gate.admission.moveFrom(from);
    return set.weights;
  }

  #adopt(set: S): S {
    this.#loaded.add(set);
    set.died.then((reason) => this.#onDeath(set, reason));
    return set;
  }

  #onDeath(set: S, reason: string): void {
    if (!this.#loaded.has(set)) return; // it was disposed
    if (set === this.#current) return this.#die(reason);
    if (set === this.#prepared) this.#prepared = null;
    if (set === this.#previous) this.#previous = null;
    this.#retire(set);
  }

  #die(reason: string): void {
    if (this.#failure !== null) return;
    this.#failure = reason;
    this.gate.end(new EngineDeadError(`Cannot generate as the engine has stopped: ${reason}`));
  }

  /** Disposes of a set; waits where that is under way. */
  #retire(set: S): Promise<void> {
    if (this.#loaded.delete(set)) {
      this.gate.forget(set);
      this.#onRetire(set);
      const disposed = this.#end(set);
      this.#retiring.set(set, disposed);
    }
    return this.#retiring.get(set) ?? Promise.resolve();
  }

  async #end(set: S): Promise<void> {
    try {
      await set[Symbol.asyncDispose]();
    } finally {
      this.#retiring.delete(set);
    }
  }

  async #exclusively<T>(verb: string, make: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.#verifyIdle(verb);
    this.#change = verb;
    const change = make(this.#closing.signal).finally(() => this.#change = null);
    this.#changed = change.catch(() => {});
    try {
      return await change;
    } catch (error) {
      throw this.#loader.explain(error);
    }
  }

  #deadError(verb: string): WeightsError {
    return new WeightsError(
      `Cannot ${verb} as the engine has stopped, and what ran on it is lost; start another: ${this.#failure}`,
      { reason: "failed" },
    );
  }

  #verifyIdle(verb: string): void {
    this.verifyAlive(verb);
    if (this.#change === null) return;
    throw new WeightsError(
      `Cannot ${verb} as an engine makes one change at a time: it is to ${this.#change} now`,
      { reason: "conflict" },
    );
  }

  /** Two sets at most: a third, or one that is just being freed, would be memory that nobody counts on. */
  async #verifyAlone(verb: string): Promise<void> {
    const other = this.#prepared ?? this.#previous;
    if (other === null) {
      await Promise.all(this.#retiring.values());
      return;
    }
    throw new WeightsError(
      `Cannot ${verb} as two sets are loaded already; release one first: ${other.weights.version}`,
      { reason: "conflict" },
    );
  }
}

function existing<S>(set: S | null, what: string): S {
  if (set === null) throw new WeightsError(`Cannot ${what}`, { reason: "conflict" });
  return set;
}
