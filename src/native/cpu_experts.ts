/**
 * The mixture-of-experts kernels of the CPU library.
 * @module
 */

/** Table of the kernels in `native/cpu/experts.c`. */
export const CPU_EXPERTS_SYMBOLS = {
  // void weft_route_experts(weft_pool* pool, float* weights, int32_t* experts, const float* logits,
  //     int32_t stride, int32_t rows, int32_t num_experts, int32_t top_k, int32_t normalize)
  weft_route_experts: {
    parameters: ["usize", "usize", "usize", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },
  // int32_t weft_sort_by_expert(int32_t* order, int32_t* offsets, const int32_t* experts,
  //     int32_t pairs, int32_t num_experts)
  weft_sort_by_expert: {
    parameters: ["usize", "usize", "usize", "i32", "i32"],
    result: "i32",
  },
  // void weft_grouped_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //     int32_t x_stride, const weft_weight* const* weights, const int32_t* order,
  //     const int32_t* offsets, int32_t num_experts, int32_t input_divisor, int32_t block_size)
  weft_grouped_linear: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "buffer",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
    ],
    result: "void",
  },
  // void weft_combine_experts(weft_pool* pool, float* out, int32_t out_stride, const float* y,
  //     int32_t y_stride, const float* weights, const int32_t* order, int32_t rows, int32_t top_k,
  //     int32_t size)
  weft_combine_experts: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "usize", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;
