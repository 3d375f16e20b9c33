/**
 * The end of a step on the last stage: logits, and tokens drawn from them.
 * @module
 */
import type { CausalLm } from "../../models/causal_lm.ts";
import type { Device } from "../../tensor/device.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { RecordedWork } from "./recorded_work.ts";
import type { Sampler } from "../sampler/sampler.ts";
import type { SamplingWork } from "../sampler/sample_row.ts";
import type { RunningStep } from "./running_step.ts";
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

/** Computes rows of logits, as many at once as there is memory for, and draws from them. */
export class StepSampler {
  readonly #options: StepSamplerOptions;
  readonly #rowsAtOnce: number;
  #work: SamplingWork | null = null;

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
   * Uploads what the rows of a step ask for, ahead of the model's work: nothing comes between that and
   * {@linkcode draw}, which follows.
   */
  prepare(step: RunningStep): void {
    if (step.rowsToSample > 0) this.#work = this.#prepare(step, 0);
  }

  /**
   * Queues the draws from what the model computed of `batch`, and adds them to the step. `recorded` keeps
   * the work of batches of this size, if it is to be recorded.
   */
  draw(step: RunningStep, batch: StepBatch, recorded: Map<string, RecordedWork> | null): void {
    const { rowsToSample } = step;
    for (let start = 0; start < rowsToSample; start += this.#rowsAtOnce) {
      // Later parts take the place of earlier ones: those must have been drawn.
      const work = start === 0 ? this.#work! : this.#prepare(step, start);
      // Whole vocabularies are fetched by the host.
      const records = recorded && work.rows === rowsToSample && !work.logprobs?.whole;
      if (records) this.#recordedDraws(recorded, batch, work).run();
      else this.#queueDraws(batch, start, work);
      step.add(this.#options.sampler.readBack(work));
    }
  }

  #prepare({ rows, rowsToSample }: RunningStep, start: number): SamplingWork {
    const most = this.#rowsAtOnce;
    const part = rowsToSample <= most ? rows : rows.slice(start, start + most);
    return this.#options.sampler.prepare(part, Math.min(most, rowsToSample - start));
  }

  #recordedDraws(
    recorded: Map<string, RecordedWork>,
    batch: StepBatch,
    work: SamplingWork,
  ): RecordedWork {
    let draws = recorded.get(work.key);
    if (!draws) {
      draws = new RecordedWork(this.#options.device, () => this.#queueDraws(batch, 0, work));
      recorded.set(work.key, draws);
    }
    return draws;
  }

  #queueDraws({ layout }: StepBatch, start: number, work: SamplingWork): void {
    const { device, model, sampler, slotTokens } = this.#options;
    model.computeLogits(tail(device, layout.device.logitIndex, start), work.rows);
    sampler.run(work);
    if (!slotTokens) return;
    const slots = tail(device, layout.device.drawnSlots, start);
    device.scatterTokens(slotTokens, sampler.tokens, slots, work.rows);
  }
}

/** The elements from `start` on. */
function tail(device: Device, vector: Tensor, start: number): Tensor {
  if (start === 0) return vector;
  const shape = [vector.size - start];
  return Tensor.view(device, vector.address + BigInt(4 * start), { shape, dtype: "i32" });
}
