/**
 * The kernels of `native/cpu/{top_k,log_sum_exp,logit_histogram,threshold,gumbel,slot_tokens}.c`.
 * @module
 */
import type { CpuContext } from "./context.ts";
import type { SamplingKernels, ThresholdRound } from "../sampling_kernels.ts";

/** Functions of the native library, each under its C declaration. */
export const CPU_SAMPLING_SYMBOLS = {
  // void weft_top_k(weft_pool* pool, float* values, int32_t* ids, const float* x, int32_t stride,
  //     int32_t rows, int32_t size, int32_t k, int32_t first_id)
  weft_top_k: {
    parameters: ["usize", "usize", "usize", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_adjust_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows,
  //     int32_t size, int32_t first_id, const int32_t* starts, const logit_entry* entries,
  //     float* saved, int32_t capacity)
  weft_adjust_logits: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "usize",
      "usize",
      "i32",
    ],
    result: "void",
  },
  // void weft_restore_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows,
  //     int32_t size, int32_t first_id, const int32_t* starts, const logit_entry* entries,
  //     float* saved, int32_t capacity)
  weft_restore_logits: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "usize",
      "usize",
      "i32",
    ],
    result: "void",
  },
  // void weft_mask_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows,
  //     int32_t size, int32_t first_id, const uint32_t* masks, int32_t words, int32_t num_masks,
  //     const int32_t* rows_of_masks)
  weft_mask_logits: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "usize",
      "i32",
      "i32",
      "usize",
    ],
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
  // void weft_min_p_thresholds(float* thresholds, const float* stats, const double* offsets,
  //     int32_t rows)
  weft_min_p_thresholds: { parameters: ["usize", "usize", "usize", "i32"], result: "void" },
  // void weft_logit_histogram(weft_pool* pool, double* histogram, const float* logits,
  //     int32_t stride, int32_t rows, int32_t size, int32_t round, int32_t kind,
  //     const double* shares, const uint32_t* prefixes, const float* thresholds, const float* stats,
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
      "i32",
      "usize",
      "usize",
      "usize",
      "usize",
      "usize",
    ],
    result: "void",
  },
  // void weft_narrow_thresholds(float* thresholds, const double* histogram, int32_t rows,
  //     int32_t round, int32_t kind, const double* shares, uint32_t* prefixes, double* targets,
  //     double* above)
  weft_narrow_thresholds: {
    parameters: ["usize", "usize", "i32", "i32", "i32", "usize", "usize", "usize", "usize"],
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
  // void weft_merge_draws(int32_t* tokens, const int32_t* draws, int32_t rows, int32_t parts)
  weft_merge_draws: { parameters: ["usize", "usize", "i32", "i32"], result: "void" },
  // int32_t weft_scatter_tokens(int32_t* slot_tokens, int32_t num_slots, const int32_t* tokens,
  //     const int32_t* slots, int32_t rows)
  weft_scatter_tokens: { parameters: ["usize", "i32", "usize", "usize", "i32"], result: "i32" },
  // int32_t weft_gather_tokens(int32_t* ids, const int32_t* slot_tokens, int32_t num_slots,
  //     const int32_t* sources, int32_t rows)
  weft_gather_tokens: { parameters: ["usize", "usize", "i32", "usize", "i32"], result: "i32" },
  // void weft_gather_logits(float* values, const float* logits, int32_t stride, const int32_t* ids,
  //     int32_t rows, int32_t size, int32_t first_id)
  weft_gather_logits: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;

const KINDS: Readonly<Record<ThresholdRound["kind"], number>> = { count: 1, mass: 2 };

/** The sampling kernels, on the context's pool. */
export function cpuSamplingKernels(
  { kernels, pool }: CpuContext<typeof CPU_SAMPLING_SYMBOLS>,
): SamplingKernels {
  const changeEntries = (
    change: typeof kernels.weft_adjust_logits,
    [logits, rows, { size, firstId, starts, entries, saved }]: Parameters<
      SamplingKernels["adjustLogits"]
    >,
  ) =>
    change(
      pool,
      logits.address,
      logits.rowStride,
      rows,
      size,
      firstId,
      starts.address,
      entries.address,
      saved.address,
      saved.size,
    );

  return {
    topK(values, ids, x, rows, { size, k, firstId }) {
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

    adjustLogits: (...call) => changeEntries(kernels.weft_adjust_logits, call),

    restoreLogits: (...call) => changeEntries(kernels.weft_restore_logits, call),

    maskLogits(logits, rows, { size, firstId, masks, maskRows }) {
      const [numMasks, words] = masks.shape;
      kernels.weft_mask_logits(
        pool,
        logits.address,
        logits.rowStride,
        rows,
        size,
        firstId,
        masks.address,
        words,
        numMasks,
        maskRows.address,
      );
    },

    logSumExp(stats, logits, rows, { size, blockSize }) {
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
      kernels.weft_merge_log_sum_exp(stats.address, gathered.address, rows, parts);
    },

    minPThresholds(thresholds, stats, offsets, rows) {
      kernels.weft_min_p_thresholds(thresholds.address, stats.address, offsets.address, rows);
    },

    logitHistogram(histogram, logits, rows, options) {
      kernels.weft_logit_histogram(
        pool,
        histogram.address,
        logits.address,
        logits.rowStride,
        rows,
        options.size,
        options.round,
        KINDS[options.kind],
        options.shares.address,
        options.prefixes.address,
        options.thresholds.address,
        options.stats.address,
        options.temperatures.address,
      );
    },

    narrowThresholds(thresholds, histogram, rows, options) {
      kernels.weft_narrow_thresholds(
        thresholds.address,
        histogram.address,
        rows,
        options.round,
        KINDS[options.kind],
        options.shares.address,
        options.prefixes.address,
        options.targets.address,
        options.above.address,
      );
    },

    gumbelArgmax(values, ids, logits, rows, options) {
      kernels.weft_gumbel_argmax(
        pool,
        values.address,
        ids.address,
        logits.address,
        logits.rowStride,
        rows,
        options.size,
        options.firstId,
        options.temperatures.address,
        options.seeds.address,
        options.choices.address,
        options.positions.address,
        options.thresholds.address,
      );
    },

    mergeDraws(tokens, draws, rows, parts) {
      kernels.weft_merge_draws(tokens.address, draws.address, rows, parts);
    },

    scatterTokens(slotTokens, tokens, slots, rows) {
      const { address, size } = slotTokens;
      checkSlots(
        "scatterTokens",
        kernels.weft_scatter_tokens(address, size, tokens.address, slots.address, rows),
        size,
      );
    },

    gatherTokens(ids, slotTokens, sources, rows) {
      const { address, size } = slotTokens;
      checkSlots(
        "gatherTokens",
        kernels.weft_gather_tokens(ids.address, address, size, sources.address, rows),
        size,
      );
    },

    gatherLogits(values, logits, ids, rows, { size, firstId }) {
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

/** `refused` is a slot that is out of range, or -1. */
function checkSlots(kernel: string, refused: number, slots: number): void {
  if (refused < 0) return;
  throw new RangeError(`Cannot run ${kernel} as there are ${slots} slots: one is ${refused}`);
}
