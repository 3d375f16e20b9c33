/**
 * The kernels of `native/cpu/{top_k,log_sum_exp,logit_histogram,gumbel}.c`: checks, then the call.
 * @module
 */
import type { CpuContext } from "./context.ts";
import { checkCount, checkMatrix, checkVector, MAX_KERNEL_INTEGER } from "../kernel_arguments.ts";
import type { SamplingKernels } from "../sampling_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_SAMPLING_SYMBOLS = {
  // void weft_top_k(weft_pool* pool, float* values, int32_t* ids, const float* x, int32_t stride,
  //     int32_t rows, int32_t size, int32_t k, int32_t first_id)
  weft_top_k: {
    parameters: ["usize", "usize", "usize", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_log_sum_exp(weft_pool* pool, float* stats, const float* logits, int32_t stride,
  //     int32_t rows, int32_t size, int32_t block_size)
  weft_log_sum_exp: {
    parameters: ["usize", "usize", "usize", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_merge_log_sum_exp(float* stats, const float* gathered, int32_t rows, int32_t parts)
  weft_merge_log_sum_exp: { parameters: ["usize", "usize", "i32", "i32"], result: "void" },
  // void weft_logit_histogram(weft_pool* pool, double* histogram, const float* logits,
  //     int32_t stride, int32_t rows, int32_t size, int32_t round, const int32_t* modes,
  //     const uint32_t* prefixes, const float* thresholds, const float* maxima,
  //     const float* temperatures)
  weft_logit_histogram: {
    parameters: [
      "usize",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "usize",
      "usize",
      "usize",
      "usize",
    ],
    result: "void",
  },
  // void weft_gumbel_argmax(weft_pool* pool, float* values, int32_t* ids, const float* logits,
  //     int32_t stride, int32_t rows, int32_t size, int32_t first_id, const float* temperatures,
  //     const uint32_t* seeds, const int32_t* choices, const int32_t* positions,
  //     const float* thresholds)
  weft_gumbel_argmax: {
    parameters: [
      "usize",
      "usize",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "usize",
      "usize",
      "usize",
      "usize",
    ],
    result: "void",
  },
  // void weft_scatter_tokens(int32_t* slot_tokens, const int32_t* tokens, const int32_t* slots,
  //     int32_t rows)
  weft_scatter_tokens: { parameters: ["usize", "usize", "usize", "i32"], result: "void" },
  // void weft_gather_tokens(int32_t* ids, const int32_t* slot_tokens, const int32_t* sources,
  //     int32_t rows)
  weft_gather_tokens: { parameters: ["usize", "usize", "usize", "i32"], result: "void" },
  // void weft_gather_logits(float* values, const float* logits, int32_t stride, const int32_t* ids,
  //     int32_t rows, int32_t size, int32_t first_id)
  weft_gather_logits: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const MAX_BLOCKS = 64;
const HISTOGRAM_BINS = 256;
// Vectors of a row are numbered in f32 lanes, which count to 2^24.
const MAX_VOCABULARY = 2 ** 28;

/**
 * The sampling kernels, on the context's pool. A NaN logit counts as -Infinity everywhere: a draw is
 * always a valid id, the lowest where every logit is -Infinity.
 */
export function cpuSamplingKernels(
  { kernels, pool }: CpuContext<typeof CPU_SAMPLING_SYMBOLS>,
): SamplingKernels {
  return {
    topK(values, ids, x, rows, options) {
      const { size, k, firstId } = options;
      checkShard("topK", size, firstId);
      checkRange("topK", "k", k, { minimum: 1, maximum: size });
      checkMatrix("topK", "x", x, rows, size);
      checkVector("topK", "values", values, rows * k);
      checkVector("topK", "ids", ids, rows * k, "i32");
      kernels.weft_top_k(
        pool,
        values.address,
        ids.address,
        x.address,
        x.rowStride,
        rows,
        size,
        k,
        firstId,
      );
    },

    logSumExp(stats, logits, rows, options) {
      const { size, blockSize } = options;
      checkShard("logSumExp", size, 0);
      checkRange("logSumExp", "blockSize", blockSize, {
        minimum: Math.ceil(size / MAX_BLOCKS),
        maximum: MAX_KERNEL_INTEGER,
      });
      checkMatrix("logSumExp", "logits", logits, rows, size);
      checkVector("logSumExp", "stats", stats, rows * 2);
      kernels.weft_log_sum_exp(
        pool,
        stats.address,
        logits.address,
        logits.rowStride,
        rows,
        size,
        blockSize,
      );
    },

    mergeLogSumExp(stats, gathered, rows, parts) {
      checkRange("mergeLogSumExp", "parts", parts, { minimum: 1, maximum: MAX_BLOCKS });
      checkVector("mergeLogSumExp", "stats", stats, rows * 2);
      checkVector("mergeLogSumExp", "gathered", gathered, parts * rows * 2);
      kernels.weft_merge_log_sum_exp(stats.address, gathered.address, rows, parts);
    },

    logitHistogram(histogram, logits, rows, options) {
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
      kernels.weft_logit_histogram(
        pool,
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
    },

    gumbelArgmax(values, ids, logits, rows, options) {
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
      kernels.weft_gumbel_argmax(
        pool,
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
    },

    scatterTokens(slotTokens, tokens, slots, rows) {
      checkVector("scatterTokens", "tokens", tokens, rows, "i32");
      checkVector("scatterTokens", "slots", slots, rows, "i32");
      kernels.weft_scatter_tokens(slotTokens.address, tokens.address, slots.address, rows);
    },

    gatherTokens(ids, slotTokens, sources, rows) {
      checkVector("gatherTokens", "ids", ids, rows, "i32");
      checkVector("gatherTokens", "sources", sources, rows, "i32");
      kernels.weft_gather_tokens(ids.address, slotTokens.address, sources.address, rows);
    },

    gatherLogits(values, logits, ids, rows, options) {
      const { size, firstId } = options;
      checkShard("gatherLogits", size, firstId);
      checkMatrix("gatherLogits", "logits", logits, rows, size);
      checkVector("gatherLogits", "values", values, rows);
      checkVector("gatherLogits", "ids", ids, rows, "i32");
      kernels.weft_gather_logits(
        values.address,
        logits.address,
        logits.rowStride,
        ids.address,
        rows,
        size,
        firstId,
      );
    },
  };
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
