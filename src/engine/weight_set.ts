/**
 * A set of weights as the verbs that change them see it, and where sets come from.
 * @module
 */
import type { Holdable } from "./pause_gate.ts";
import type { LoadedWeights, WeightsError, WeightsFolder } from "./weights.ts";

/** One set of weights on ranks of its own. */
export interface WeightSet extends Holdable, AsyncDisposable {
  /** What it is called. */
  readonly weights: LoadedWeights;
  /** Why it can't go on, or null. */
  readonly failure: string | null;
  /** Resolves with the reason when it has died or was disposed. */
  readonly died: Promise<string>;
  /** See {@linkcode UpdatableWeights.checkWeights}. */
  check(
    prompts: readonly (readonly number[])[],
    maxTokens: number,
  ): Promise<readonly (readonly number[])[]>;
}

/** Where sets come from; `P` says what is to be loaded. */
export interface WeightSetLoader<S, P> {
  /**
   * Reads a folder as far as it takes to know that it can be served instead of `present`, beside the sets that
   * stay loaded. Throws WeightsError, or what was found wrong.
   */
  verify(
    source: WeightsFolder,
    context: { readonly present: S; readonly beside: readonly S[]; readonly signal: AbortSignal },
  ): Promise<P>;
  /** Throws when the folder that `set` was loaded from could not be loaded again. */
  verifyUnchanged(set: S): void;
  /** Loads what was verified. */
  load(plan: P, signal: AbortSignal): Promise<S>;
  /** Loads again what `set` was loaded from. */
  reload(set: S, signal: AbortSignal): Promise<S>;
  /** Says what a failure is. */
  explain(error: unknown): WeightsError;
}
