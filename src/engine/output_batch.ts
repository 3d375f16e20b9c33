/**
 * Outputs of a step on their way from the engine's thread to its user's.
 * @module
 */
import type { SchedulerOutput } from "./scheduler/scheduler.ts";

/** Outputs of a step. Most are a token of a request and nothing else: these travel as numbers. */
export interface OutputBatch {
  /** Request and token, one pair after the other. */
  readonly tokens: Float64Array;
  /** Outputs that say more. */
  readonly others: readonly SchedulerOutput[];
}

/** Packs outputs, those of as many requests as before into the same memory. */
export class OutputPacker {
  readonly #plain: SchedulerOutput[] = [];
  #tokens = new Float64Array(0);

  /** A batch to be posted before the next call. Requests are numbered. */
  pack(outputs: readonly SchedulerOutput[]): OutputBatch {
    let count = 0;
    const others: SchedulerOutput[] = [];
    for (let i = 0; i < outputs.length; i++) {
      if (isPlain(outputs[i])) this.#plain[count++] = outputs[i];
      else others.push(outputs[i]);
    }
    if (this.#tokens.length !== 2 * count) this.#tokens = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      const { id, tokenIds } = this.#plain[i];
      this.#tokens[2 * i] = id as number;
      this.#tokens[2 * i + 1] = tokenIds[0];
    }
    return { tokens: this.#tokens, others };
  }
}

/** Hands out the outputs of a batch, each an object of its own. */
export function unpackOutputs(
  { tokens, others }: OutputBatch,
  deliver: (output: SchedulerOutput) => void,
): void {
  for (let i = 0; i < tokens.length; i += 2) {
    deliver({ id: tokens[i], tokenIds: [tokens[i + 1]], finishReason: null, stopReason: null });
  }
  for (let i = 0; i < others.length; i++) deliver(others[i]);
}

function isPlain(output: SchedulerOutput): boolean {
  return output.tokenIds.length === 1 && output.finishReason === null &&
    output.logprobs === undefined && output.promptLogprobs === undefined &&
    output.cachedTokens === undefined && output.queueSeconds === undefined;
}
