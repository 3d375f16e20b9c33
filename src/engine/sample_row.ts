/**
 * What the parts of the sampler work on.
 * @module
 */
import type { Communicator } from "../distributed/communicator.ts";
import type { VocabShard } from "../layers/vocab_parallel.ts";
import type { Device } from "../tensor/device.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { PlannedSampling } from "./step_plan.ts";

/** What is asked of one row of logits. */
export interface SampleRow {
  /** How to draw a token; null to only look at `target`. */
  readonly sampling: PlannedSampling | null;
  /** Absolute position of the token that is drawn. */
  readonly position: number;
  /** Token whose log-probability is wanted in place of a drawn one, or -1. */
  readonly target: number;
  /** Top tokens to report; -1 the whole vocabulary; null no log-probabilities. */
  readonly logprobs: number | null;
}

/** Where the sampler works. */
export interface SamplerOptions {
  /** Device that holds the logits. */
  readonly device: Device;
  /** Ranks that share the vocabulary. */
  readonly tensorParallel: Communicator;
  /** This rank's part of the vocabulary. */
  readonly vocab: VocabShard;
  /** `[maxRows, vocab.paddedCount]`. */
  readonly logits: Tensor;
}

/** Whether a draw leaves tokens out. Greedy draws (temperature 0 or top-k 1) need no threshold. */
export function isTruncated({ temperature, topK, topP, minP }: PlannedSampling): boolean {
  return temperature > 0 && topK !== 1 && (topK > 0 || topP < 1 || minP > 0);
}
