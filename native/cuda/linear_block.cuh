// What products of up to 8 rows of x have in common, however their weights are stored: which outputs a
// block takes, x in shared memory, and the sum over warps.
#ifndef WEFT_LINEAR_BLOCK_CUH
#define WEFT_LINEAR_BLOCK_CUH

#include "linear_tile.cuh"
#include "ptx.cuh"

namespace weft_linear {

// Outputs [first, last) of a block.
struct OutputRange {
  int first;
  int last;
};

__device__ __forceinline__ OutputRange outputs_of_block(int outputs) {
  const int blocks = gridDim.x;
  const int block = blockIdx.x;
  const int share = outputs / blocks;
  const int rest = outputs % blocks;
  const int first = block * share + (block < rest ? block : rest);
  return {first, first + share + (block < rest ? 1 : 0)};
}

// What is fetched into the second-level cache before the kernels ahead have ended. All blocks together
// take about a third of an H100's, and no part of it has to stay there for long.
constexpr int kPrefetchBytes = 128 << 10;

// How a weight's rows lie in memory.
struct WeightRows {
  int bytes;  // of a row
  int outputs;
  bool gated;  // the rows are those of the gate, then as many of the up projection
};

// Lets the caches fetch what the ring has no room for.
__device__ __forceinline__ void prefetch(const void* weight, OutputRange own, WeightRows rows) {
  if (threadIdx.x != 0 || own.first >= own.last) return;
  const int matrices = rows.gated ? 2 : 1;
  const long long bytes = static_cast<long long>(own.last - own.first) * rows.bytes;
  const int most_bytes = kPrefetchBytes / matrices;
  for (int i = 0; i < matrices; i++) {
    const long long row = own.first + i * rows.outputs;
    prefetch_l2(static_cast<const unsigned char*>(weight) + row * rows.bytes,
                bytes < most_bytes ? static_cast<unsigned>(bytes) : most_bytes);
  }
}

// Copies x to shared memory from byte `offset` on, where its rows begin 64 bytes off each other modulo
// 128: eight lanes that read at once find two rows in different banks. Everything waits for this, so a
// thread has many loads under way.
template <class T>
__device__ __forceinline__ InputRows<T> copy_to_shared(const InputRows<T>& x, int offset) {
  constexpr int kLoads = 8;
  const int row_vectors = x.columns / kVectorSize<T>;
  const int vectors = x.rows * row_vectors;
  const int stride = (row_vectors + 7) / 8 * 8 + 4;
  uint4* copy = reinterpret_cast<uint4*>(shared_memory() + offset);
  for (int first = threadIdx.x; first < vectors; first += kLoads * kThreads) {
    uint4 loaded[kLoads];
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int index = first + i * kThreads;
      loaded[i] = x.vector(index / row_vectors, index % row_vectors * kVectorSize<T>);
    }
#pragma unroll
    for (int i = 0; i < kLoads; i++) {
      const int index = first + i * kThreads;
      if (index < vectors) copy[index / row_vectors * stride + index % row_vectors] = loaded[i];
    }
  }
  __syncthreads();
  return {reinterpret_cast<const T*>(copy), stride * kVectorSize<T>, x.rows, x.columns};
}

// Sum over warps, in their order.
__device__ __forceinline__ float sum_of_warps(const float* partials, int row, int tile_row) {
  float sum = 0.0f;
#pragma unroll
  for (int warp = 0; warp < kWarps; warp++) {
    sum += partials[(warp * kMaxRows + row) * kTileRows + tile_row];
  }
  return sum;
}

}  // namespace weft_linear

#endif  // WEFT_LINEAR_BLOCK_CUH
