/**
 * The native library's memory functions, thread pool and layer kernels.
 * @module
 */

/** Table of the functions in `native/cpu`: memory, pool, embedding, norms, linear and the like. */
export const CPU_LAYER_SYMBOLS = {
  // const char* weft_instruction_set(void)
  weft_instruction_set: { parameters: [], result: "pointer" },

  // weft_pool* weft_pool_create(int threads)
  weft_pool_create: { parameters: ["i32"], result: "usize" },
  // void weft_pool_destroy(weft_pool* pool)
  weft_pool_destroy: { parameters: ["usize"], result: "void" },

  // void* weft_allocate(uint64_t bytes)
  weft_allocate: { parameters: ["u64"], result: "usize" },
  // void weft_free(void* memory)
  weft_free: { parameters: ["usize"], result: "void" },
  // void weft_copy(void* destination, const void* source, uint64_t bytes)
  weft_copy: { parameters: ["usize", "usize", "u64"], result: "void" },
  // The same function, from and to JavaScript's memory.
  weft_upload: { name: "weft_copy", parameters: ["usize", "buffer", "u64"], result: "void" },
  weft_download: { name: "weft_copy", parameters: ["buffer", "usize", "u64"], result: "void" },
  // void weft_convert_matrix(weft_pool* pool, void* out, int32_t out_format, const void* source,
  //                          int32_t source_format, int32_t rows, int32_t columns,
  //                          int32_t row_stride, int32_t column_stride)
  weft_convert_matrix: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "i32", "i32"],
    result: "void",
  },

  // void weft_embedding(weft_pool* pool, float* out, int32_t out_stride, const int32_t* ids,
  //                     const weft_weight* table, int32_t rows, int32_t first_id)
  weft_embedding: {
    parameters: ["usize", "usize", "i32", "usize", "usize", "i32", "i32"],
    result: "void",
  },
  // void weft_rms_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                    int32_t x_stride, float* residual, int32_t residual_stride,
  //                    const float* weight, int32_t rows, int32_t size, float epsilon)
  weft_rms_norm: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "i32",
      "f32",
    ],
    result: "void",
  },
  // void weft_head_rms_norm(weft_pool* pool, float* x, int32_t x_stride, const float* weight,
  //                         int32_t rows, int32_t heads, int32_t head_size, float epsilon)
  weft_head_rms_norm: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32", "f32"],
    result: "void",
  },
  // void weft_layer_norm(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                      int32_t x_stride, float* residual, int32_t residual_stride,
  //                      const float* weight, const float* bias, int32_t rows, int32_t size,
  //                      float epsilon)
  weft_layer_norm: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "f32",
    ],
    result: "void",
  },
  // void weft_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                  int32_t x_stride, const weft_weight* weight, const float* bias,
  //                  int32_t tokens, int32_t block_size)
  weft_linear: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "usize", "usize", "i32", "i32"],
    result: "void",
  },
  // int32_t weft_rope(weft_pool* pool, float* x, int32_t x_stride, const int32_t* positions,
  //                   const float* table, int32_t table_stride, int32_t table_rows, int32_t rows,
  //                   int32_t heads, int32_t head_size, int32_t rotary_size)
  weft_rope: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
      "i32",
      "i32",
    ],
    result: "i32",
  },
  // void weft_silu_and_mul(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                        int32_t x_stride, int32_t rows, int32_t size)
  weft_silu_and_mul: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_gelu(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                int32_t x_stride, int32_t rows, int32_t size)
  weft_gelu: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
  // void weft_add(weft_pool* pool, float* out, const float* a, const float* b, int32_t count)
  weft_add: { parameters: ["usize", "usize", "usize", "usize", "i32"], result: "void" },
  // void weft_add_bias(weft_pool* pool, float* x, int32_t x_stride, const float* bias,
  //                    int32_t rows, int32_t size)
  weft_add_bias: { parameters: ["usize", "usize", "i32", "usize", "i32", "i32"], result: "void" },
  // int32_t weft_gather_rows(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                          int32_t x_stride, int32_t x_rows, const int32_t* index,
  //                          int32_t rows, int32_t size)
  weft_gather_rows: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "usize", "i32", "i32"],
    result: "i32",
  },
  // void weft_softmax(weft_pool* pool, float* out, int32_t out_stride, const float* x,
  //                   int32_t x_stride, int32_t rows, int32_t size)
  weft_softmax: {
    parameters: ["usize", "usize", "i32", "usize", "i32", "i32", "i32"],
    result: "void",
  },
} as const satisfies Deno.ForeignLibraryInterface;
