/**
 * The end of a step on the last stage: logits, and tokens drawn from them.
 * @module
 */
import type { CausalLm } from "../../models/causal_lm.ts";
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";
import type { LogitRow } from "./logit_rows.ts";
import { RecordedWork } from "./recorded_work.ts";
import type { Sampler } from "../sampler/sampler.ts";
import type { PendingSamples } from "../sampler/sampling_results.ts";
import type { StepBatch } from "./step_batch.ts";

/** Options of {@linkcode StepSampler}. */
export interface StepSamplerOptions {
  /** Device of the model. */
  readonly device: Device;
  /** The last stage of a model. */
  readonly model: CausalLm;
  /** What draws. */
  readonly sampler: Sampler;
  /** i32 by slot: where drawn tokens stay for the next step; null when they go by way of the host. */
  readonly slotTokens: Tensor | null;
}

/** Rows of logits that are sampled at once. */
export interface SampledRows {
  /** The rows. */
  readonly rows: readonly LogitRow[];
  /** What is drawn for them. */
  readonly samples: PendingSamples;
}

/** Computes rows of logits, as many at once as there is memory for, and draws from them. */
export class StepSampler {
  readonly #options: StepSamplerOptions;
  readonly #rowsAtOnce: number;

  /** Draws from the logits of a last stage. */
  constructor(options: StepSamplerOptions) {
    this.#options = options;
    this.#rowsAtOnce = options.model.logits?.shape[0] ?? 0;
  }

  /** Rows that are sampled at once, at most. */
  get rowsAtOnce(): number {
    return this.#rowsAtOnce;
  }

  /**
   * Uploads what `rows`, padded to `count`, ask for, ahead of the model's work: nothing comes between that
   * and the draws, which the function that is returned queues. `recorded` keeps the work of batches of
   * this size, if it is to be recorded.
   */
  prepare(
    batch: StepBatch,
    rows: readonly LogitRow[],
    options: { readonly count: number; readonly recorded: Map<string, RecordedWork> | null },
  ): () => SampledRows[] {
    const parts: (() => SampledRows)[] = [];
    for (let start = 0; start < options.count; start += this.#rowsAtOnce) {
      const count = Math.min(this.#rowsAtOnce, options.count - start);
      const part = rows.slice(start, start + count);
      const recorded = count === options.count ? options.recorded : null;
      const prepare = () => this.#preparePart(batch, part, { start, count, recorded });
      // Later parts take the place of earlier ones: those must have been drawn.
      parts.push(start === 0 ? prepare() : () => prepare()());
    }
    return () => parts.map((draw) => draw());
  }

  #preparePart(
    batch: StepBatch,
    rows: readonly LogitRow[],
    options: {
      readonly start: number;
      readonly count: number;
      readonly recorded: Map<string, RecordedWork> | null;
    },
  ): () => SampledRows {
    const { device, model, sampler, slotTokens } = this.#options;
    const { start, count, recorded } = options;
    const logitIndex = tail(device, batch.layout.device.logitIndex, start);
    const drawnSlots = tail(device, batch.layout.device.drawnSlots, start);
    const work = sampler.prepare(rows, count);
    const draw = () => {
      model.computeLogits(logitIndex, count);
      sampler.run(work);
      if (slotTokens) device.scatterTokens(slotTokens, sampler.tokens, drawnSlots, count);
    };
    return () => {
      // Whole vocabularies are fetched by the host.
      if (recorded && !work.logprobs?.whole) {
        let known = recorded.get(work.key);
        if (!known) recorded.set(work.key, known = new RecordedWork(device, draw));
        known.run();
      } else {
        draw();
      }
      return { rows, samples: sampler.readBack(work) };
    };
  }
}

/** The elements from `start` on. */
function tail(device: Device, vector: Tensor, start: number): Tensor {
  if (start === 0) return vector;
  const shape = [vector.size - start];
  return Tensor.view(device, vector.address + BigInt(4 * start), { shape, dtype: "i32" });
}
