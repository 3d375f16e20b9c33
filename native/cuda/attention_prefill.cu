// Attention of chunks of many tokens over the paged cache (FlashAttention-2, arXiv:2307.08691), for
// 16-bit heads of 64 or 128 elements. A block takes 128 query tokens of one sequence and one head,
// 32 a warp, and goes through the keys they see in tiles of 64, the latest first. Each fragment of
// keys or values that a warp reads from shared memory serves two products, as shared memory is what
// limits these kernels. The next tile arrives while one is worked on; its copies are started while
// there are no scores, as these and the outputs fill the registers.
#include "attention_task.cuh"
#include "attention_tile.cuh"
#include "mma.cuh"

namespace weft_attention {

constexpr int kPrefillWarps = 4;
constexpr int kTileRows = 32 * kPrefillWarps;
constexpr int kTileKeys = 64;

// The query tokens [token, token + rows) of one sequence, the first of them at `position`, and the
// keys [first, end) that any of them sees.
struct TileTask {
  int token;
  int rows;  // 0 when there is nothing to do
  int position;
  int first;
  int end;
  int table;  // where the sequence's block table begins
};

// Tile `tile` of all sequences' tiles; sequences of one token have none. Whole warps call it.
template <class T>
__device__ __forceinline__ TileTask tile_task(const Arguments<T>& a, int tile) {
  const int lane = threadIdx.x % 32;
  TileTask task = {0, 0, 0, 0, 0, 0};
  for (int base = 0; base < a.sequences; base += 32) {
    const int sequence = base + lane;
    int length = 0;
    if (sequence < a.sequences) length = a.query_starts[sequence + 1] - a.query_starts[sequence];
    const int tiles = length > 1 ? (length + kTileRows - 1) / kTileRows : 0;
    int before = tiles;  // tiles of this and the earlier sequences
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, before, distance);
      if (lane >= distance) before += other;
    }
    const unsigned reached = __ballot_sync(0xffffffffu, before > tile);
    if (reached != 0) {
      const int owner = __ffs(reached) - 1;
      const int row = (tile - __shfl_sync(0xffffffffu, before - tiles, owner)) * kTileRows;
      task.rows = min(kTileRows, __shfl_sync(0xffffffffu, length, owner) - row);
      task.token = a.query_starts[base + owner] + row;
      task.position = a.context_starts[base + owner] + row;
      task.first = first_visible(task.position, a.sliding_window);
      task.end = min(task.position + task.rows, a.max_blocks * kBlockTokens);
      task.table = table_start(a, base + owner);
      if (task.first >= task.end) task.rows = 0;
      return task;
    }
    tile -= __shfl_sync(0xffffffffu, before, 31);
  }
  return task;
}

template <int D>
struct PrefillShared {
  unsigned short queries[kTileRows * D];
  unsigned short keys[2 * kTileKeys * D];
  unsigned short values[2 * kTileKeys * D];
};

// First row of a tile in shared memory, where successive tiles take turns.
__device__ __forceinline__ int tile_row(int first_key) { return first_key % (2 * kTileKeys); }

// Starts to copy keys and values [first_key, first_key + kTileKeys) of one head, zeros for those
// that no query sees.
template <class T, int D>
__device__ __forceinline__ void start_tile(const Arguments<T>& a, const TileTask& task, int kv_head,
                                           int first_key, PrefillShared<D>* shared) {
  const int first_row = tile_row(first_key);
  constexpr int kChunks = D / 8;
  constexpr int kRowsAtOnce = 32 * kPrefillWarps / kChunks;
  const int chunk = threadIdx.x % kChunks;
#pragma unroll 2
  for (int part = 0; part < kTileKeys; part += kBlockTokens) {
    const int key_block = (first_key + part) / kBlockTokens;
    const bool seen = (key_block + 1) * kBlockTokens > task.first &&
                      key_block * kBlockTokens < task.end;
    const int block = seen ? clamp_index(a.block_tables[task.table + key_block], a.num_blocks) : 0;
    const long long from = block_offset(block, a.num_kv_heads, kv_head, D) + chunk * 8;
#pragma unroll
    for (int i = 0; i < kBlockTokens; i += kRowsAtOnce) {
      const int row = i + threadIdx.x / kChunks;
      const int key = first_key + part + row;
      const bool in_range = key >= task.first && key < task.end;
      const int to = tile_offset<D>(first_row + part + row, chunk);
      cp_async16_or_zero(shared->keys + to, a.keys + from + row * D, in_range);
      cp_async16_or_zero(shared->values + to, a.values + from + row * D, in_range);
    }
  }
}

template <class T, int D>
__device__ __forceinline__ void start_queries(const Arguments<T>& a, const TileTask& task, int head,
                                              unsigned short* shared) {
  constexpr int kChunks = D / 8;
  constexpr int kRowsAtOnce = 32 * kPrefillWarps / kChunks;
  const int chunk = threadIdx.x % kChunks;
#pragma unroll 4
  for (int row = threadIdx.x / kChunks; row < kTileRows; row += kRowsAtOnce) {
    const int token = task.token + min(row, task.rows - 1);
    cp_async16_or_zero(
        shared + tile_offset<D>(row, chunk),
        a.queries + static_cast<long long>(token) * a.query_stride + head * D + chunk * 8,
        row < task.rows);
  }
}

// What a warp knows of its 32 rows; lane l holds rows l / 4 + 8 i, i < 4.
template <int D>
struct RowState {
  float o[2][D / 8][4];
  float m[4];  // largest score, not scaled
  float l[4];  // this lane's share of the sum
};

// s = Q K^T, for rows `row`.. of the queries and the tile of keys from row `first_row` on.
template <class T, int D>
__device__ __forceinline__ void tile_scores(float (&s)[2][kTileKeys / 8][4],
                                            const unsigned short* queries, int row,
                                            const unsigned short* keys, int first_row) {
#pragma unroll 2
  for (int k = 0; k < D / 16; k++) {
    unsigned q[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
      ldmatrix_x4(q[i], queries + 16 * i * D + fragment_offset<D>(row, k));
    }
#pragma unroll
    for (int n = 0; n < kTileKeys / 16; n++) {
      unsigned b[4];
      ldmatrix_x4(b, keys + 16 * n * D + fragment_offset<D>(first_row, k));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        mma_16816<T>(s[i][2 * n], q[i], {b[0], b[2]});
        mma_16816<T>(s[i][2 * n + 1], q[i], {b[1], b[3]});
      }
    }
  }
}

// Hides the keys that a row does not see; `position` is that of the lane's first row.
__device__ __forceinline__ void hide_keys(float (&s)[2][kTileKeys / 8][4], int first_key,
                                          int position, int sliding_window) {
  const int column = first_key + threadIdx.x % 4 * 2;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int last = position + 8 * i;
    const int first = first_visible(last, sliding_window);
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const int key = column + 8 * n + j;
        if (key < first || key > last) s[i / 2][n][i % 2 * 2 + j] = minus_infinity();
      }
    }
  }
}

// Turns scores into weights relative to the rows' new maxima, and scales what was added before.
template <int D>
__device__ __forceinline__ void weigh(float (&s)[2][kTileKeys / 8][4], RowState<D>& state,
                                      float scale) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int tile = i / 2;
    const int half = i % 2 * 2;
    float largest = state.m[i];
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++) {
      largest = fmaxf(largest, fmaxf(s[tile][n][half], s[tile][n][half + 1]));
    }
    largest = quad_max(largest);
    const float base = largest == minus_infinity() ? 0.0f : largest * scale;
    const float alpha = fast_exp2(fmaf(state.m[i], scale, -base));
    state.m[i] = largest;
    float sum = 0.0f;
#pragma unroll
    for (int n = 0; n < kTileKeys / 8; n++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        s[tile][n][half + j] = fast_exp2(fmaf(s[tile][n][half + j], scale, -base));
        sum += s[tile][n][half + j];
      }
    }
    state.l[i] = state.l[i] * alpha + sum;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
      state.o[tile][n][half] *= alpha;
      state.o[tile][n][half + 1] *= alpha;
    }
  }
}

// o += P V, with the tile of values from row `first_row` on.
template <class T, int D>
__device__ __forceinline__ void add_values(RowState<D>& state,
                                           const float (&p)[2][kTileKeys / 8][4],
                                           const unsigned short* values, int first_row) {
#pragma unroll
  for (int k = 0; k < kTileKeys / 16; k++) {
    unsigned weights[2][4];
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float(&four)[4] = p[i][2 * k + j / 2];
        weights[i][j] = pack2<T>(four[j % 2 * 2], four[j % 2 * 2 + 1]);
      }
    }
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
      unsigned b[4];
      ldmatrix_x4_trans(b, values + 16 * k * D + fragment_offset<D>(first_row, n));
#pragma unroll
      for (int i = 0; i < 2; i++) {
        mma_16816<T>(state.o[i][2 * n], weights[i], {b[0], b[1]});
        mma_16816<T>(state.o[i][2 * n + 1], weights[i], {b[2], b[3]});
      }
    }
  }
}

// Grid: heads, tiles.
template <class T, int D>
__device__ __forceinline__ void prefill(const Arguments<T>& a) {
  auto* shared = reinterpret_cast<PrefillShared<D>*>(shared_memory());
  const int head = blockIdx.x;
  const int warp_row = threadIdx.x / 32 * 32;
  const int lane = threadIdx.x % 32;
  pdl_launch_dependents();
  const int kv_head = clamp_index(a.kv_head_of_head[head], a.num_kv_heads);
  // Late tiles see the most keys: they come first, so that the short ones fill the gaps at the end.
  const TileTask task = tile_task(a, static_cast<int>(gridDim.y - 1 - blockIdx.y));
  pdl_wait();
  if (task.rows == 0) return;

  int first_key = (task.end - 1) / kTileKeys * kTileKeys;
  start_queries<T, D>(a, task, head, shared->queries);
  start_tile<T, D>(a, task, kv_head, first_key, shared);
  cp_async_commit();

  RowState<D> state = {};
#pragma unroll
  for (int i = 0; i < 4; i++) state.m[i] = minus_infinity();
  const float scale = a.scale * kLog2E;
  const int position = task.position + warp_row;  // of the warp's first row

  for (; first_key + kTileKeys > task.first; first_key -= kTileKeys) {
    cp_async_wait<0>();
    __syncthreads();  // the tile is there, and nobody reads the one before any more
    if (first_key > task.first) {
      start_tile<T, D>(a, task, kv_head, first_key - kTileKeys, shared);
      cp_async_commit();
    }
    const bool in_window =
        a.sliding_window == 0 || first_key + kTileKeys + a.sliding_window > position + 1;
    if (first_key <= position + 31 && in_window && warp_row < task.rows) {
      const int first_row = tile_row(first_key);
      float s[2][kTileKeys / 8][4] = {};
      tile_scores<T, D>(s, shared->queries, warp_row, shared->keys, first_row);
      const bool all_visible =
          first_key + kTileKeys - 1 <= position &&
          (a.sliding_window == 0 || first_key + a.sliding_window > position + 31);
      if (!all_visible) hide_keys(s, first_key, position + lane / 4, a.sliding_window);
      weigh<D>(s, state, scale);
      add_values<T, D>(state, s, shared->values, first_row);
    }
  }

#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float inverse = 1.0f / quad_sum(state.l[i]);
    const int row = warp_row + lane / 4 + 8 * i;
    if (row >= task.rows) continue;
    T* out = a.out + static_cast<long long>(task.token + row) * a.out_stride + head * D +
             lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
      const float* pair = &state.o[i / 2][n][i % 2 * 2];
      *reinterpret_cast<unsigned*>(out + 8 * n) = pack2<T>(pair[0] * inverse, pair[1] * inverse);
    }
  }
}

}  // namespace weft_attention

#define WEFT_ATTENTION_PREFILL(NAME, T, D)                                            \
  extern "C" __global__ void __launch_bounds__(32 * weft_attention::kPrefillWarps, 2) \
      NAME(WEFT_ATTENTION_PARAMETERS(T)) {                                            \
    weft_attention::prefill<T, D>(WEFT_ATTENTION_ARGUMENTS(T));                       \
  }

WEFT_ATTENTION_PREFILL(attention_prefill_64_bf16, bf16, 64)
WEFT_ATTENTION_PREFILL(attention_prefill_64_f16, f16, 64)
WEFT_ATTENTION_PREFILL(attention_prefill_128_bf16, bf16, 128)
WEFT_ATTENTION_PREFILL(attention_prefill_128_f16, f16, 128)

#undef WEFT_ATTENTION_PREFILL
