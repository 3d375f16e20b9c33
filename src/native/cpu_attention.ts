/**
 * The attention and KV-cache kernels of the CPU library.
 * @module
 */

/** Table of the kernels in `native/cpu/attention.c` and `kv_cache.c`. */
export const CPU_ATTENTION_SYMBOLS = {
  // int32_t weft_write_kv_cache(weft_pool* pool, float* key_cache, float* value_cache,
  //     const float* keys, int32_t key_stride, const float* values, int32_t value_stride,
  //     const int32_t* slots, int32_t rows, int32_t num_blocks, int32_t num_kv_heads,
  //     int32_t head_dim)
  weft_write_kv_cache: {
    parameters: [
      "usize",
      "usize",
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "i32",
      "i32",
      "i32",
      "i32",
    ],
    result: "i32",
  },
  // int64_t weft_attention_scratch_bytes(int32_t tokens, int32_t sequences, int32_t num_heads,
  //     int32_t num_kv_heads)
  weft_attention_scratch_bytes: { parameters: ["i32", "i32", "i32", "i32"], result: "i64" },
  // int32_t weft_paged_attention(weft_pool* pool, float* out, int32_t out_stride,
  //     const float* queries, int32_t query_stride, const float* keys, const float* values,
  //     int32_t num_blocks, const int32_t* query_starts, const int32_t* context_starts,
  //     const int32_t* block_tables, int32_t max_blocks, int32_t tokens, int32_t sequences,
  //     const int32_t* kv_head_of_head, int32_t num_heads, int32_t num_kv_heads, int32_t head_dim,
  //     float scale, int32_t sliding_window, char* scratch, int64_t scratch_bytes)
  weft_paged_attention: {
    parameters: [
      "usize",
      "usize",
      "i32",
      "usize",
      "i32",
      "usize",
      "usize",
      "i32",
      "usize",
      "usize",
      "usize",
      "i32",
      "i32",
      "i32",
      "usize",
      "i32",
      "i32",
      "i32",
      "f32",
      "i32",
      "usize",
      "i64",
    ],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;
