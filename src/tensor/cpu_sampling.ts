/**
 * Sampling on the CPU.
 * @module
 */
import type { CpuContext } from "./cpu_context.ts";
import type { GumbelOptions } from "./device.ts";
import { checkCount, checkMatrix, checkVector, MAX_KERNEL_INTEGER } from "./kernel_arguments.ts";
import type { Tensor } from "./tensor.ts";

const MAX_BLOCKS = 64;
const HISTOGRAM_BINS = 256;
// Vectors of a row are numbered in f32 lanes, which count to 2^24.
const MAX_VOCABULARY = 2 ** 28;

/**
 * The sampling kernels of one CPU device. A NaN logit counts as -Infinity everywhere: a draw is
 * always a valid id, the lowest where every logit is -Infinity.
 */
export class CpuSampling {
  readonly #context: CpuContext;

  /** Kernels that run on the context's pool. */
  constructor(context: CpuContext) {
    this.#context = context;
  }

  /** See {@linkcode Device.topK}. */
  topK(
    values: Tensor,
    ids: Tensor,
    x: Tensor,
    rows: number,
    options: { size: number; k: number; firstId: number },
  ): void {
    const { size, k, firstId } = options;
    checkShard("topK", size, firstId);
    checkRange("topK", "k", k, { minimum: 1, maximum: size });
    checkMatrix("topK", "x", x, rows, size);
    checkVector("topK", "values", values, rows * k);
    checkVector("topK", "ids", ids, rows * k, "i32");
    this.#context.kernels.weft_top_k(
      this.#context.pool,
      values.address,
      ids.address,
      x.address,
      x.rowStride,
      rows,
      size,
      k,
      firstId,
    );
  }

  /** See {@linkcode Device.logSumExp}. */
  logSumExp(
    stats: Tensor,
    logits: Tensor,
    rows: number,
    options: { size: number; blockSize: number },
  ): void {
    const { size, blockSize } = options;
    checkShard("logSumExp", size, 0);
    checkRange("logSumExp", "blockSize", blockSize, {
      minimum: Math.ceil(size / MAX_BLOCKS),
      maximum: MAX_KERNEL_INTEGER,
    });
    checkMatrix("logSumExp", "logits", logits, rows, size);
    checkVector("logSumExp", "stats", stats, rows * 2);
    this.#context.kernels.weft_log_sum_exp(
      this.#context.pool,
      stats.address,
      logits.address,
      logits.rowStride,
      rows,
      size,
      blockSize,
    );
  }

  /** See {@linkcode Device.mergeLogSumExp}. */
  mergeLogSumExp(stats: Tensor, gathered: Tensor, rows: number, parts: number): void {
    checkRange("mergeLogSumExp", "parts", parts, { minimum: 1, maximum: MAX_BLOCKS });
    checkVector("mergeLogSumExp", "stats", stats, rows * 2);
    checkVector("mergeLogSumExp", "gathered", gathered, parts * rows * 2);
    this.#context.kernels.weft_merge_log_sum_exp(stats.address, gathered.address, rows, parts);
  }

  /** See {@linkcode Device.logitHistogram}; rows of mode 0 are filled with zeros. */
  logitHistogram(
    histogram: Tensor,
    logits: Tensor,
    rows: number,
    options: {
      size: number;
      round: number;
      modes: Tensor;
      prefixes: Tensor;
      thresholds: Tensor;
      maxima: Tensor;
      temperatures: Tensor;
    },
  ): void {
    const { size, round, modes, prefixes, thresholds, maxima, temperatures } = options;
    checkShard("logitHistogram", size, 0);
    checkRange("logitHistogram", "round", round, { minimum: 0, maximum: 3 });
    checkMatrix("logitHistogram", "logits", logits, rows, size);
    checkVector("logitHistogram", "histogram", histogram, rows * HISTOGRAM_BINS, "f64");
    checkVector("logitHistogram", "modes", modes, rows, "i32");
    checkVector("logitHistogram", "prefixes", prefixes, rows, "i32");
    checkVector("logitHistogram", "thresholds", thresholds, rows);
    checkVector("logitHistogram", "maxima", maxima, rows);
    checkVector("logitHistogram", "temperatures", temperatures, rows);
    this.#context.kernels.weft_logit_histogram(
      this.#context.pool,
      histogram.address,
      logits.address,
      logits.rowStride,
      rows,
      size,
      round,
      modes.address,
      prefixes.address,
      thresholds.address,
      maxima.address,
      temperatures.address,
    );
  }

  /** See {@linkcode Device.gumbelArgmax}. */
  gumbelArgmax(
    values: Tensor,
    ids: Tensor,
    logits: Tensor,
    rows: number,
    options: GumbelOptions & { size: number; firstId: number },
  ): void {
    const { size, firstId, temperatures, seeds, choices, positions, thresholds } = options;
    checkShard("gumbelArgmax", size, firstId);
    checkMatrix("gumbelArgmax", "logits", logits, rows, size);
    checkVector("gumbelArgmax", "values", values, rows);
    checkVector("gumbelArgmax", "ids", ids, rows, "i32");
    checkVector("gumbelArgmax", "temperatures", temperatures, rows);
    checkVector("gumbelArgmax", "seeds", seeds, rows * 2, "i32");
    checkVector("gumbelArgmax", "choices", choices, rows, "i32");
    checkVector("gumbelArgmax", "positions", positions, rows, "i32");
    checkVector("gumbelArgmax", "thresholds", thresholds, rows);
    this.#context.kernels.weft_gumbel_argmax(
      this.#context.pool,
      values.address,
      ids.address,
      logits.address,
      logits.rowStride,
      rows,
      size,
      firstId,
      temperatures.address,
      seeds.address,
      choices.address,
      positions.address,
      thresholds.address,
    );
  }

  /** See {@linkcode Device.gatherLogits}. */
  gatherLogits(
    values: Tensor,
    logits: Tensor,
    ids: Tensor,
    rows: number,
    options: { size: number; firstId: number },
  ): void {
    const { size, firstId } = options;
    checkShard("gatherLogits", size, firstId);
    checkMatrix("gatherLogits", "logits", logits, rows, size);
    checkVector("gatherLogits", "values", values, rows);
    checkVector("gatherLogits", "ids", ids, rows, "i32");
    this.#context.kernels.weft_gather_logits(
      values.address,
      logits.address,
      logits.rowStride,
      ids.address,
      rows,
      size,
      firstId,
    );
  }
}

function checkShard(kernel: string, size: number, firstId: number): void {
  checkRange(kernel, "size", size, { minimum: 1, maximum: MAX_VOCABULARY });
  checkCount(kernel, "firstId", firstId);
  checkCount(kernel, "firstId + size", firstId + size);
}

function checkRange(
  kernel: string,
  name: string,
  value: number,
  { minimum, maximum }: { minimum: number; maximum: number },
): void {
  if (!Number.isInteger(value) || value < minimum || value > maximum) {
    throw new RangeError(
      `Cannot run ${kernel} as ${name} must be an integer from ${minimum} to ${maximum}: current value is ${value}`,
    );
  }
}
