// Attention of single query tokens over the paged cache (flash-decoding), for 16-bit heads of 64 or
// 128 elements. A block serves all query heads of one KV head, so keys and values are read once;
// its warps take the cache blocks of their split in turn, each through a ring of its own in shared
// memory, so that no warp waits for another.
//
// Products with the tensor cores, for up to 8 heads: scores = Q K^T has heads in its rows (8 of the
// 16 are empty), and o^T = V^T P^T has heads in its columns, as 8 is the width of that side. The
// scores' accumulators are at once the second product's factor.
#include "attention_merge.cuh"
#include "attention_tile.cuh"
#include "mma.cuh"

namespace weft_attention {

constexpr int kDecodeWarps = 8;

template <int D>
struct DecodeShared {
  // A unit is the keys or the values of one cache block. The units of a warp in flight: as many
  // bytes whatever the head size.
  static constexpr int kUnits = D == 128 ? 3 : 6;
  static constexpr int kOutputStride = D + 4;  // keeps a warp's writes on different banks
  struct Outputs {
    float o[kDecodeWarps][kHeadsAtOnce][kOutputStride];
    MergeArea merge;
  };
  union {
    unsigned short ring[kDecodeWarps][kUnits * kBlockTokens * D];
    Outputs outputs;
  };
  unsigned short queries[kHeadsAtOnce * D];
  HeadList list;
};

// Two blocks fit into a multiprocessor of sm_90, and one into the smallest ones there are.
static_assert(sizeof(DecodeShared<64>) <= 100388 && sizeof(DecodeShared<128>) == 100388,
              "src/tensor/cuda/attention_kernels.ts names the size");

// The units that one warp reads, in order: keys and values of cache blocks `first`, `first` +
// kDecodeWarps, ... below `end`.
template <class T, int D>
struct UnitStream {
  const Arguments<T>& a;
  const RowTask& task;
  int kv_head;
  int first;
  int end;
  int blocks;  // table entries of the next 32 cache blocks, one a lane
  long long offset;

  // Into rows `to`.. of the ring.
  __device__ __forceinline__ void start(int unit, unsigned short* ring, int to) {
    constexpr int kChunks = D / 8;  // of 16 bytes in a row
    const int lane = threadIdx.x % 32;
    const int turn = unit / 2;
    if (unit % 2 == 0) {
      if (turn % 32 == 0) {
        const int mine = first + (turn + lane) * kDecodeWarps;
        blocks = mine < end ? clamp_index(task.table[mine], a.num_blocks) : 0;
      }
      const int block = __shfl_sync(0xffffffffu, blocks, turn % 32);
      offset = block_offset(block, a.num_kv_heads, kv_head, D);
    }
    const T* from = (unit % 2 == 0 ? a.keys : a.values) + offset;
    const int first_key = (first + turn * kDecodeWarps) * kBlockTokens;
#pragma unroll
    for (int i = lane; i < kBlockTokens * kChunks; i += 32) {
      const int row = i / kChunks;
      const int chunk = i % kChunks;
      const int key = first_key + row;
      cp_async16_or_zero(ring + tile_offset<D>(to + row, chunk), from + row * D + chunk * 8,
                         key >= task.first && key < task.end);
    }
  }
};

// One pass: attends with the list's first `heads` heads; each warp leaves its part in `outputs`.
template <class T, int D>
__device__ __forceinline__ void decode_heads(const Arguments<T>& a, const RowTask& task,
                                             int kv_head, SplitRange range, int heads,
                                             DecodeShared<D>* shared) {
  using Shared = DecodeShared<D>;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int g = lane / 4;
  const int t = lane % 4;
  unsigned short* ring = shared->ring[warp];
  UnitStream<T, D> stream = {a, task, kv_head, range.begin + warp, range.end, 0, 0};
  const int turns = max(0, (range.end - stream.first + kDecodeWarps - 1) / kDecodeWarps);

  for (int i = threadIdx.x; i < kHeadsAtOnce * (D / 8); i += blockDim.x) {
    const int h = i / (D / 8);
    const int chunk = i % (D / 8);
    const T* query = a.queries + static_cast<long long>(task.token) * a.query_stride +
                     (h < heads ? shared->list.head[h] : 0) * D;
    cp_async16_or_zero(shared->queries + tile_offset<D>(h, chunk), query + chunk * 8, h < heads);
  }
  cp_async_commit();
#pragma unroll 1
  for (int unit = 0; unit < Shared::kUnits; unit++) {
    if (unit < 2 * turns) stream.start(unit, ring, unit * kBlockTokens);
    cp_async_commit();
  }

  cp_async_wait<Shared::kUnits>();
  __syncthreads();  // the queries are there

  const float scale = a.scale * kLog2E;
  float o[D / 16][4] = {};
  float m = minus_infinity();
  float l = 0.0f;
  int row = 0;  // of the ring: the oldest unit
  // The oldest unit has arrived when at most kUnits - 1 younger ones are under way.
  const auto wait = [] {
    cp_async_wait<Shared::kUnits - 1>();
    __syncwarp();
  };
  const auto refill = [&](int unit) {
    __syncwarp();
    if (unit < 2 * turns) stream.start(unit, ring, row);
    cp_async_commit();
    row = row + kBlockTokens == Shared::kUnits * kBlockTokens ? 0 : row + kBlockTokens;
  };

#pragma unroll 1
  for (int turn = 0; turn < turns; turn++) {
    wait();
    float s[2][4] = {};
#pragma unroll
    for (int k = 0; k < D / 16; k += 2) {
      unsigned q[4];  // of 32 elements; the factor's lower rows are empty
      ldmatrix_x4(q, shared->queries + (tile_offset<D>(lane % 8, lane / 8) ^ (16 * k)));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        unsigned b[4];
        ldmatrix_x4(b, ring + fragment_offset<D>(row, k + i));
        const unsigned factor[4] = {q[2 * i], 0u, q[2 * i + 1], 0u};
        mma_16816<T>(s[0], factor, {b[0], b[2]});
        mma_16816<T>(s[1], factor, {b[1], b[3]});
      }
    }
    refill(2 * turn + Shared::kUnits);

    const int first_key = (stream.first + turn * kDecodeWarps) * kBlockTokens + 2 * t;
    float score[2][2];
    float largest = m;
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int key = first_key + 8 * n + i;
        const bool visible = key >= task.first && key < task.end;
        score[n][i] = visible ? s[n][i] * scale : minus_infinity();
        largest = fmaxf(largest, score[n][i]);
      }
    }
    largest = quad_max(largest);
    const float base = largest == minus_infinity() ? 0.0f : largest;
    const float alpha = fast_exp2(m - base);
    m = largest;
    l *= alpha;
#pragma unroll
    for (int n = 0; n < 2; n++) {
#pragma unroll
      for (int i = 0; i < 2; i++) {
        score[n][i] = fast_exp2(score[n][i] - base);
        l += score[n][i];
      }
    }
    const unsigned p[2] = {pack2<T>(score[0][0], score[0][1]), pack2<T>(score[1][0], score[1][1])};
    // Columns 2t and 2t + 1 of o^T are heads that lanes 8t and 8t + 4 hold as rows.
    const float alpha0 = __shfl_sync(0xffffffffu, alpha, 8 * t);
    const float alpha1 = __shfl_sync(0xffffffffu, alpha, 8 * t + 4);

    wait();
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
      o[k][0] *= alpha0;
      o[k][1] *= alpha1;
      o[k][2] *= alpha0;
      o[k][3] *= alpha1;
      unsigned v[4];
      ldmatrix_x4_trans(v, ring + fragment_offset<D>(row, k));
      mma_16816<T>(o[k], {v[0], v[2], v[1], v[3]}, p);
    }
    refill(2 * turn + 1 + Shared::kUnits);
  }

  cp_async_wait<0>();
  l = quad_sum(l);
  __syncthreads();  // the outputs take the ring's place
  auto& outputs = shared->outputs;
  if (t == 0) {
    outputs.merge.m[warp][g] = m;
    outputs.merge.l[warp][g] = l;
  }
  if (turns > 0) {
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        outputs.o[warp][2 * t + i % 2][16 * k + g + i / 2 * 8] = o[k][i];
      }
    }
  }
}

// Grid: rows, KV heads, splits. `single_only` as for row_task.
template <class T, int D>
__device__ __forceinline__ void decode(const Arguments<T>& a, int single_only, float* partials,
                                       int* counters) {
  auto* shared = reinterpret_cast<DecodeShared<D>*>(shared_memory());
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
  const SplitRange range = split_range(task, split, splits, kDecodeWarps);
  if (split >= range.active) return;
  __syncthreads();
  const int count = shared->list.count;
  for (int done = 0; done < count; done += kHeadsAtOnce) {
    if (done > 0) next_heads(&shared->list, a.kv_head_of_head, a.num_heads, kv_head, done);
    const int heads = min(count - done, kHeadsAtOnce);
    decode_heads<T, D>(a, task, kv_head, range, heads, shared);
    merge_row(a, D, &shared->outputs.merge, &shared->outputs.o[0][0][0],
              DecodeShared<D>::kOutputStride, &shared->list, heads, task.token, split, splits,
              range.active, partials, counters);
  }
}

}  // namespace weft_attention

#define WEFT_ATTENTION_DECODE(NAME, T, D)                                                    \
  extern "C" __global__ void __launch_bounds__(32 * weft_attention::kDecodeWarps, 2)         \
      NAME(WEFT_ATTENTION_PARAMETERS(T), int single_only, float* partials, int* counters) {  \
    weft_attention::decode<T, D>(WEFT_ATTENTION_ARGUMENTS(T), single_only, partials,         \
                                 counters);                                                  \
  }

WEFT_ATTENTION_DECODE(attention_decode_64_bf16, bf16, 64)
WEFT_ATTENTION_DECODE(attention_decode_64_f16, f16, 64)
WEFT_ATTENTION_DECODE(attention_decode_128_bf16, bf16, 128)
WEFT_ATTENTION_DECODE(attention_decode_128_f16, f16, 128)

#undef WEFT_ATTENTION_DECODE
