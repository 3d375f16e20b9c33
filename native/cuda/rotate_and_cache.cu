// What happens to queries and keys before they meet: a norm over each head, where the model has
// one, then the rotary embedding by position. Queries change in place; keys and values go into the
// cache. A warp takes one head of one row.
#include "attention_task.cuh"
#include "reduce.cuh"

namespace weft_rotate {

using weft_attention::block_offset;
using weft_attention::clamp_index;
using weft_attention::kBlockTokens;

constexpr int kWarps = 4;

// Reads or writes W neighbours at once.
template <int W, class T>
__device__ __forceinline__ void load(const T* from, float (&values)[W]) {
  if constexpr (W == 1) {
    values[0] = to_f32(*from);
  } else if constexpr (sizeof(T) == 4) {
    const float2 pair = *reinterpret_cast<const float2*>(from);
    values[0] = pair.x;
    values[1] = pair.y;
  } else {
    unpack2<T>(*reinterpret_cast<const unsigned*>(from), values);
  }
}

template <int W, class T>
__device__ __forceinline__ void store(T* to, const float (&values)[W]) {
  if constexpr (W == 1) {
    *to = from_f32<T>(values[0]);
  } else if constexpr (sizeof(T) == 4) {
    *reinterpret_cast<float2*>(to) = {values[0], values[1]};
  } else {
    *reinterpret_cast<unsigned*>(to) = pack2<T>(values[0], values[1]);
  }
}

// to = rotate(norm(from)); without a norm when `weight` is null, and without rotation of the
// elements from `rotary_dim` on. `angles`: rotary_dim / 2 cosines, then as many sines.
template <int W, class T>
__device__ __forceinline__ void transform(T* to, const T* from, int head_dim, const float* weight,
                                          float epsilon, const float* angles, int rotary_dim) {
  const int lane = threadIdx.x % 32;
  float factor = 1.0f;
  if (weight != nullptr) {
    float sum = 0.0f;
    for (int i = lane * W; i < head_dim; i += 32 * W) {
      float x[W];
      load<W>(from + i, x);
#pragma unroll
      for (int j = 0; j < W; j++) sum += x[j] * x[j];
    }
    factor = rsqrtf(warp_sum(sum) / head_dim + epsilon);
  }
  const auto normed = [&](int i, float(&x)[W]) {
    load<W>(from + i, x);
    if (weight == nullptr) return;
#pragma unroll
    for (int j = 0; j < W; j++) x[j] = x[j] * factor * weight[i + j];
  };
  const int half = rotary_dim / 2;
  for (int i = lane * W; i < half; i += 32 * W) {
    float x[W];
    float y[W];
    normed(i, x);
    normed(i + half, y);
#pragma unroll
    for (int j = 0; j < W; j++) {
      const float cosine = angles[i + j];
      const float sine = angles[i + j + half];
      const float rotated = x[j] * cosine - y[j] * sine;
      y[j] = y[j] * cosine + x[j] * sine;
      x[j] = rotated;
    }
    store<W>(to + i, x);
    store<W>(to + i + half, y);
  }
  for (int i = rotary_dim + lane * W; i < head_dim; i += 32 * W) {
    float x[W];
    normed(i, x);
    store<W>(to + i, x);
  }
}

template <int W, class T>
__device__ __forceinline__ void rotate_and_cache(
    T* queries, int query_stride, const T* keys, int key_stride, const T* values, int value_stride,
    T* key_cache, T* value_cache, int num_blocks, const int* positions, const int* slots,
    const float* query_norm, const float* key_norm, float epsilon, const float* table,
    int table_stride, int table_rows, int rotary_dim, int num_heads, int num_kv_heads,
    int head_dim) {
  const long long row = blockIdx.x;
  int head = blockIdx.y * kWarps + threadIdx.x / 32;
  pdl_launch_dependents();
  const int slot = slots[row];
  const float* angles =
      rotary_dim == 0 ? nullptr
                      : table + static_cast<long long>(clamp_index(positions[row], table_rows)) *
                                    table_stride;
  pdl_wait();
  if (head < num_heads) {
    T* query = queries + row * query_stride + head * head_dim;
    if (query_norm != nullptr || rotary_dim > 0) {
      transform<W>(query, query, head_dim, query_norm, epsilon, angles, rotary_dim);
    }
    return;
  }
  head -= num_heads;
  // A slot that is not there has no cache to write to.
  if (head >= 2 * num_kv_heads || slot < 0 || slot / kBlockTokens >= num_blocks) return;
  const bool is_key = head < num_kv_heads;
  if (!is_key) head -= num_kv_heads;
  const long long place =
      block_offset(slot / kBlockTokens, num_kv_heads, head, head_dim) +
      slot % kBlockTokens * head_dim;
  if (is_key) {
    transform<W>(key_cache + place, keys + row * key_stride + head * head_dim, head_dim, key_norm,
                 epsilon, angles, rotary_dim);
  } else {
    transform<W, T>(value_cache + place, values + row * value_stride + head * head_dim, head_dim,
                    nullptr, 0.0f, nullptr, 0);
  }
}

}  // namespace weft_rotate

// Grid: rows, heads of queries, keys and values by kWarps. The _2 kernels take two neighbours at
// once: strides, addresses, head_dim and rotary_dim / 2 are even.
#define WEFT_ROTATE_AND_CACHE(NAME, T, W)                                                         \
  extern "C" __global__ void __launch_bounds__(32 * weft_rotate::kWarps) NAME(                    \
      T* queries, int query_stride, const T* keys, int key_stride, const T* values,               \
      int value_stride, T* key_cache, T* value_cache, int num_blocks, const int* positions,       \
      const int* slots, const float* query_norm, const float* key_norm, float epsilon,            \
      const float* table, int table_stride, int table_rows, int rotary_dim, int num_heads,        \
      int num_kv_heads, int head_dim) {                                                           \
    weft_rotate::rotate_and_cache<W>(queries, query_stride, keys, key_stride, values,             \
                                     value_stride, key_cache, value_cache, num_blocks, positions, \
                                     slots, query_norm, key_norm, epsilon, table, table_stride,   \
                                     table_rows, rotary_dim, num_heads, num_kv_heads, head_dim);  \
  }

WEFT_ROTATE_AND_CACHE(rotate_and_cache_1_f32, float, 1)
WEFT_ROTATE_AND_CACHE(rotate_and_cache_1_bf16, bf16, 1)
WEFT_ROTATE_AND_CACHE(rotate_and_cache_1_f16, f16, 1)
WEFT_ROTATE_AND_CACHE(rotate_and_cache_2_f32, float, 2)
WEFT_ROTATE_AND_CACHE(rotate_and_cache_2_bf16, bf16, 2)
WEFT_ROTATE_AND_CACHE(rotate_and_cache_2_f16, f16, 2)

#undef WEFT_ROTATE_AND_CACHE
