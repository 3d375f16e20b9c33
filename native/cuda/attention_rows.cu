// Attention over the paged cache for every type and head size up to 256, without tensor cores: f32,
// and heads for which attention_decode.cu and attention_prefill.cu have no kernels. A block takes
// one query token and all query heads of one KV head. For scores a lane is a key, for outputs an
// element.
#include "attention_merge.cuh"
#include "rows.cuh"

namespace weft_attention {

constexpr int kRowWarps = 4;
constexpr int kMaxHeadSize = 256;

// Shared memory: RowsShared, then queries [kHeadsAtOnce][head_dim], then the warps' outputs
// [kRowWarps][kHeadsAtOnce][head_dim], all f32.
struct RowsShared {
  MergeArea merge;
  HeadList list;
  float weights[kRowWarps][kHeadsAtOnce][32];
};

static_assert(sizeof(RowsShared) == 6696, "src/tensor/cuda/attention_kernels.ts names the size");

// Scores of one key with the first `heads` queries.
template <class T>
__device__ __forceinline__ void key_scores(float (&s)[kHeadsAtOnce], const T* key,
                                           const float* queries, int heads, int head_dim) {
  constexpr int kWidth = kVectorSize<T>;
#pragma unroll
  for (int h = 0; h < kHeadsAtOnce; h++) s[h] = 0.0f;
  for (int d = 0; d < head_dim; d += kWidth) {
    float k[kWidth];
    load_part<kWidth>(key + d, head_dim - d, k);
#pragma unroll
    for (int h = 0; h < kHeadsAtOnce; h++) {
      if (h < heads) {
        const float* query = queries + h * head_dim + d;
#pragma unroll
        for (int i = 0; i < kWidth; i++) {
          if (d + i < head_dim) s[h] += k[i] * query[i];
        }
      }
    }
  }
}

// One pass: `heads` heads, whose queries are in shared memory.
template <class T>
__device__ __forceinline__ void attend_heads(const Arguments<T>& a, const RowTask& task,
                                             int kv_head, SplitRange range, int heads,
                                             int head_dim, RowsShared* shared,
                                             const float* queries, float* outputs) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  float(*weights)[32] = shared->weights[warp];
  const float scale = a.scale * kLog2E;
  float o[kHeadsAtOnce][kMaxHeadSize / 32] = {};
  float m[kHeadsAtOnce];
  float l[kHeadsAtOnce];
#pragma unroll
  for (int h = 0; h < kHeadsAtOnce; h++) {
    m[h] = minus_infinity();
    l[h] = 0.0f;
  }

  // Two cache blocks a turn.
  for (int block = range.begin + 2 * warp; block < range.end; block += 2 * kRowWarps) {
    const int first_key = block * kBlockTokens;
    const int end_key = min(task.end, range.end * kBlockTokens);
    const int key = first_key + lane;
    const bool visible = key >= task.first && key < end_key;
    const int mine = visible ? clamp_index(task.table[key / kBlockTokens], a.num_blocks) : 0;
    const long long place = block_offset(mine, a.num_kv_heads, kv_head, head_dim) +
                            key % kBlockTokens * head_dim;
    float s[kHeadsAtOnce];
    if (visible) key_scores(s, a.keys + place, queries, heads, head_dim);
    __syncwarp();  // the last turn's weights have been read
#pragma unroll
    for (int h = 0; h < kHeadsAtOnce; h++) {
      if (h < heads) {
        const float score = visible ? s[h] * scale : minus_infinity();
        const float largest = fmaxf(m[h], warp_max(score));
        const float base = largest == minus_infinity() ? 0.0f : largest;
        const float alpha = fast_exp2(m[h] - base);
        const float weight = fast_exp2(score - base);
        m[h] = largest;
        l[h] = l[h] * alpha + weight;
        weights[h][lane] = weight;
#pragma unroll
        for (int i = 0; i < kMaxHeadSize / 32; i++) o[h][i] *= alpha;
      }
    }
    __syncwarp();
    const int first = max(task.first - first_key, 0);
    const int end = min(end_key - first_key, 32);
    for (int j = first; j < end; j++) {
      const long long row = __shfl_sync(0xffffffffu, place, j);
      const T* value = a.values + row;
#pragma unroll
      for (int i = 0; i < kMaxHeadSize / 32; i++) {
        const int d = 32 * i + lane;
        if (d < head_dim) {
          const float v = to_f32(value[d]);
#pragma unroll
          for (int h = 0; h < kHeadsAtOnce; h++) {
            if (h < heads) o[h][i] += weights[h][j] * v;
          }
        }
      }
    }
  }

#pragma unroll
  for (int h = 0; h < kHeadsAtOnce; h++) {
    if (h < heads) {
      const float sum = warp_sum(l[h]);
      if (lane == 0) {
        shared->merge.m[warp][h] = m[h];
        shared->merge.l[warp][h] = sum;
      }
#pragma unroll
      for (int i = 0; i < kMaxHeadSize / 32; i++) {
        const int d = 32 * i + lane;
        if (d < head_dim) outputs[(warp * kHeadsAtOnce + h) * head_dim + d] = o[h][i];
      }
    }
  }
}

// Grid: rows, KV heads, splits. `single_only` as for row_task.
template <class T>
__device__ __forceinline__ void attend_rows(const Arguments<T>& a, int head_dim, int single_only,
                                            float* partials, int* counters) {
  auto* shared = reinterpret_cast<RowsShared*>(shared_memory());
  auto* queries = reinterpret_cast<float*>(shared + 1);
  float* outputs = queries + kHeadsAtOnce * head_dim;
  const int kv_head = blockIdx.y;
  const int split = blockIdx.z;
  const int splits = gridDim.z;
  pdl_launch_dependents();
  if (threadIdx.x < 32) {
    list_heads(&shared->list, a.kv_head_of_head, a.num_heads, kv_head, 0);
  }
  const RowTask task = row_task(a, blockIdx.x, single_only != 0);
  pdl_wait();
  if (task.end == 0) return;
  const SplitRange range = split_range(task, split, splits, 2 * kRowWarps);
  if (split >= range.active) return;

  __syncthreads();
  const int count = shared->list.count;
  for (int done = 0; done < count; done += kHeadsAtOnce) {
    if (done > 0) next_heads(&shared->list, a.kv_head_of_head, a.num_heads, kv_head, done);
    const int heads = min(count - done, kHeadsAtOnce);
    const T* row = a.queries + static_cast<long long>(task.token) * a.query_stride;
    for (int i = threadIdx.x; i < heads * head_dim; i += blockDim.x) {
      queries[i] = to_f32(row[shared->list.head[i / head_dim] * head_dim + i % head_dim]);
    }
    __syncthreads();
    attend_heads(a, task, kv_head, range, heads, head_dim, shared, queries, outputs);
    merge_row(a, head_dim, &shared->merge, outputs, head_dim, &shared->list, heads, task.token,
              split, splits, range.active, partials, counters);
  }
}

}  // namespace weft_attention

#define WEFT_ATTENTION_ROWS(NAME, T)                                                              \
  extern "C" __global__ void __launch_bounds__(32 * weft_attention::kRowWarps, 3)                 \
      NAME(WEFT_ATTENTION_PARAMETERS(T), int single_only, float* partials, int* counters,         \
           int head_dim) {                                                                        \
    weft_attention::attend_rows<T>(WEFT_ATTENTION_ARGUMENTS(T), head_dim, single_only, partials,  \
                                   counters);                                                     \
  }

WEFT_ATTENTION_ROWS(attention_rows_f32, float)
WEFT_ATTENTION_ROWS(attention_rows_bf16, bf16)
WEFT_ATTENTION_ROWS(attention_rows_f16, f16)

#undef WEFT_ATTENTION_ROWS
