/**
 * What sampling leaves on the device, and its way to the host.
 * @module
 */
import { Tensor } from "../../tensor/tensor.ts";
import { rankedLogprobs } from "./logprob_ranking.ts";
import {
  type SamplerOptions,
  type SampleRow,
  type SamplingWork,
  topsAtOnce,
} from "./sample_row.ts";
import { type PendingSamples, type SampledStep, SamplesLanding } from "./samples_landing.ts";
import type { RowLogprobs } from "../step_plan.ts";

/** Bytes of a row without its tops: token, maximum and sum, logit of the target. */
const ROW_BYTES = 16;

/**
 * Results in one piece of device memory, those of plain draws first, so that one copy brings what a
 * step has. Several copies may be under way: each has a landing place, of which there are as many as
 * were ever needed at once.
 */
export class SamplingResults implements Disposable {
  /** i32: the drawn tokens. */
  readonly tokens: Tensor;
  /** f32 `[maxRows, 2]`: maximum and sum of exponentials. */
  readonly stats: Tensor;
  /** f32: logits of drawn or given tokens. */
  readonly targetLogits: Tensor;
  /** i32 `[parts, 2, rows, k]`, rows and k those of the work: bits of the logits, then ids. */
  readonly tops: Tensor;
  readonly #options: SamplerOptions;
  readonly #rowCapacity: number;
  readonly #byteLength: number;
  readonly #free: SamplesLanding[] = [];
  readonly #all: SamplesLanding[] = [];

  /** Allocates what the largest batch of rows needs. */
  constructor(options: SamplerOptions) {
    const { device, tensorParallel, logits, vocab } = options;
    // Rounded up, so that every array starts at a multiple of 64 bytes.
    const rows = Math.ceil(logits.shape[0] / 16) * 16;
    const numTops = 2 * tensorParallel.size * rows * topsAtOnce(vocab);
    this.#options = options;
    this.#rowCapacity = rows;
    this.#byteLength = ROW_BYTES * rows + 4 * numTops;
    const address = device.allocate(this.#byteLength);
    const view = (row: number, dtype: "i32" | "f32", ...shape: number[]) =>
      Tensor.view(device, address + BigInt(row * rows), { shape, dtype });
    this.tokens = view(0, "i32", rows);
    this.stats = view(4, "f32", rows, 2);
    this.targetLogits = view(12, "f32", rows);
    this.tops = view(ROW_BYTES, "i32", numTops);
  }

  /** Queues the copy of what `work` gives; `whole` are the gathered logits if it asks for them. */
  readBack(
    rows: readonly SampleRow[],
    work: SamplingWork,
    whole: Float32Array | null,
  ): PendingSamples {
    const landing = this.#free.pop() ?? this.#addLanding(rows, work);
    landing.rows = rows;
    landing.work = work;
    landing.whole = whole;
    landing.start(this.tokens.address, this.#bytesOf(work));
    return landing;
  }

  #addLanding(rows: readonly SampleRow[], work: SamplingWork): SamplesLanding {
    const landing = new SamplesLanding(this.#options.device.readback(this.#byteLength), {
      rows,
      work,
      readLogprobs: (bytes, step) =>
        this.#givesLogprobs(step) ? this.#logprobsOf(bytes, step) : null,
      onRead: (landing) => this.#free.push(landing),
    });
    this.#all.push(landing);
    return landing;
  }

  #bytesOf({ rows, logprobs }: SamplingWork): number {
    const { tensorParallel } = this.#options;
    if (logprobs === null || tensorParallel.rank !== 0) return 4 * rows;
    return ROW_BYTES * this.#rowCapacity + 8 * tensorParallel.size * rows * logprobs.top;
  }

  /** Log-probabilities are for rank 0. */
  #givesLogprobs({ work }: SampledStep): boolean {
    return work.logprobs !== null && this.#options.tensorParallel.rank === 0;
  }

  #logprobsOf(
    { buffer, byteOffset }: Uint8Array<ArrayBuffer>,
    { rows, work, whole }: SampledStep,
  ): (RowLogprobs | null)[] {
    const { tensorParallel, vocab } = this.#options;
    const top = work.logprobs?.top ?? 0;
    const capacity = this.#rowCapacity;
    const at = (row: number) => byteOffset + row * capacity;
    const count = tensorParallel.size * work.rows * top;
    const candidates = {
      stats: new Float32Array(buffer, at(4), 2 * capacity),
      targetLogits: new Float32Array(buffer, at(12), capacity),
      tops: {
        parts: tensorParallel.size,
        rows: work.rows,
        perPart: top,
        logits: new Float32Array(buffer, at(ROW_BYTES), 2 * count),
        ids: new Int32Array(buffer, at(ROW_BYTES), 2 * count),
      },
      whole: whole && { logits: whole, parts: tensorParallel.size, rows: work.rows, vocab },
    };
    return rows.map((row, index) =>
      row.logprobs === null ? null : rankedLogprobs(candidates, index, row.logprobs)
    );
  }

  /** Frees the memory and the landing places. */
  [Symbol.dispose](): void {
    this.#options.device.free(this.tokens.address);
    for (const landing of this.#all) landing[Symbol.dispose]();
  }
}
