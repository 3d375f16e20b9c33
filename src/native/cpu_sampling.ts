/**
 * The sampling kernels of the CPU library.
 * @module
 */

/** Table of the kernels in `native/cpu/{top_k,log_sum_exp,logit_histogram,gumbel}.c`. */
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
  // void weft_gather_logits(float* values, const float* logits, int32_t stride, const int32_t* ids,
  //     int32_t rows, int32_t size, int32_t first_id)
  weft_gather_logits: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;
