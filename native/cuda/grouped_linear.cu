// Products of the experts of a mixture: rows that are sorted by expert, each with its expert's weight.
// A block has up to 16 or 64 rows of one expert and 64 of its outputs; a warp all rows and 16 outputs.
// Both factors pass through shared memory in steps of 128 bytes of each row, some steps ahead. Blocks
// that follow each other share the outputs, so that an expert's part of the weight is read from memory
// once however many rows the expert has.
#include "expert_tiles.cuh"
#include "mma.cuh"
#include "ptx.cuh"
#include "rows.cuh"

namespace weft_grouped_linear {

using weft_expert_tiles::find_tile;
using weft_expert_tiles::Tile;

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kOutputs = 64;
constexpr int kWarpOutputs = kOutputs / kWarps;
constexpr int kStages = 3;

// A row of a step: 8 vectors of 16 bytes.
constexpr int kRowVectors = 8;
template <class T>
constexpr int kStepColumns = kRowVectors * kVectorSize<T>;

// Rows that the block's threads copy at once.
constexpr int kCopiedRows = kThreads / kRowVectors;

template <int kRows>
constexpr int kStageVectors = (kRows + kOutputs) * kRowVectors;

// Where vector `vector` of a row stands: vectors are exchanged inside a row so that those of eight
// rows lie on different banks.
__device__ __forceinline__ int vector_offset(int row, int vector) {
  return row * kRowVectors + (vector ^ (row % 8));
}

// The block's part of both factors on its way through shared memory: rows of x, then of the weight.
template <class T, int kRows>
class FactorStream {
 public:
  __device__ __forceinline__ FactorStream(const T* x, int x_stride, const int* order,
                                          int input_divisor, Tile tile, const T* weight,
                                          int first_output, int outputs, int columns)
      : columns_(columns), outputs_(outputs - first_output) {
    const int vector = threadIdx.x % kRowVectors;
    column_ = vector * kVectorSize<T>;
    weight_ = row_of(weight, first_output + threadIdx.x / kRowVectors, columns) + column_;
#pragma unroll
    for (int i = 0; i < kRows / kCopiedRows; i++) {
      const int row = tile.first + threadIdx.x / kRowVectors + i * kCopiedRows;
      has_row_[i] = row < tile.end;
      const int sorted_row = has_row_[i] ? row : tile.first;
      const int source = input_divisor == 0 ? sorted_row : order[sorted_row] / input_divisor;
      x_[i] = row_of(x, source, x_stride) + column_;
    }
  }

  // Starts the copies of the next step; zeros behind the last column.
  __device__ __forceinline__ void fetch() {
    const int row = threadIdx.x / kRowVectors;
    const bool in_row = column_ < columns_;
    uint4* stage = step(fetched_);
#pragma unroll
    for (int i = 0; i < kRows / kCopiedRows; i++) {
      uint4* place = stage + vector_offset(row + i * kCopiedRows, threadIdx.x % kRowVectors);
      cp_async16_or_zero(place, x_[i] + advanced_, in_row && has_row_[i]);
    }
#pragma unroll
    for (int i = 0; i < kOutputs / kCopiedRows; i++) {
      const int output = row + i * kCopiedRows;
      uint4* place = stage + vector_offset(kRows + output, threadIdx.x % kRowVectors);
      const T* vector = weight_ + static_cast<long long>(i * kCopiedRows) * columns_ + advanced_;
      cp_async16_or_zero(place, vector, in_row && output < outputs_);
    }
    cp_async_commit();
    column_ += kStepColumns<T>;
    advanced_ += kStepColumns<T>;
    fetched_++;
  }

  // Waits for the oldest step that has not been taken. Behind it no warp reads earlier ones.
  __device__ __forceinline__ const uint4* take() {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    return step(taken_++);
  }

 private:
  static __device__ __forceinline__ uint4* step(unsigned number) {
    return reinterpret_cast<uint4*>(shared_memory()) + number % kStages * kStageVectors<kRows>;
  }

  const T* x_[kRows / kCopiedRows];
  bool has_row_[kRows / kCopiedRows];
  const T* weight_;
  int columns_;
  int outputs_;  // of the weight from the block's first
  int column_;
  int advanced_ = 0;
  unsigned fetched_ = 0;
  unsigned taken_ = 0;
};

// The sums of a warp. 16-bit types: fragments of 16 rows and 8 outputs.
template <class T, int kRows>
class WarpSums {
 public:
  __device__ __forceinline__ void add(const uint4* stage) {
    const int lane = threadIdx.x % 32;
    const int weight_row = kRows + threadIdx.x / 32 * kWarpOutputs;
#pragma unroll
    for (int k = 0; k < kRowVectors; k += 2) {
      unsigned w[4];
      ldmatrix_x4(w, stage + vector_offset(weight_row + lane % 16, k + lane / 16));
#pragma unroll
      for (int i = 0; i < kRows / 16; i++) {
        unsigned x[4];
        ldmatrix_x4(x, stage + vector_offset(16 * i + lane % 16, k + lane / 16));
        mma_16816<T>(sums_[i][0], x, {w[0], w[2]});
        mma_16816<T>(sums_[i][1], x, {w[1], w[3]});
      }
    }
  }

  // Calls use(row, output, sum) for the lane's sums; both count from the warp's first.
  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kRows / 16; i++) {
#pragma unroll
      for (int part = 0; part < 8; part++) {
        const int row = 16 * i + part / 2 % 2 * 8 + lane / 4;
        use(row, part / 4 * 8 + lane % 4 * 2 + part % 2, sums_[i][part / 4][part % 4]);
      }
    }
  }

 private:
  float sums_[kRows / 16][2][4] = {};
};

// f32: a lane has one output and half of the rows.
template <int kRows>
class WarpSums<float, kRows> {
 public:
  __device__ __forceinline__ void add(const uint4* stage) {
    const int weight_row = kRows + threadIdx.x / 32 * kWarpOutputs + output();
#pragma unroll 2
    for (int k = 0; k < kRowVectors; k++) {
      float w[4];
      unpack16<float>(stage[vector_offset(weight_row, k)], w);
#pragma unroll
      for (int row = 0; row < kRows / 2; row++) {
        float x[4];
        unpack16<float>(stage[vector_offset(first_row() + row, k)], x);
#pragma unroll
        for (int i = 0; i < 4; i++) sums_[row] = fmaf(x[i], w[i], sums_[row]);
      }
    }
  }

  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
#pragma unroll
    for (int row = 0; row < kRows / 2; row++) use(first_row() + row, output(), sums_[row]);
  }

 private:
  static __device__ __forceinline__ int output() { return threadIdx.x % kWarpOutputs; }
  static __device__ __forceinline__ int first_row() {
    return threadIdx.x % 32 / kWarpOutputs * (kRows / 2);
  }

  float sums_[kRows / 2] = {};
};

template <class T, class Out, int kRows>
__device__ __forceinline__ void multiply(Out* out, int out_stride, const T* x, int x_stride,
                                         const T* const* weights, const int* order,
                                         const int* offsets, int experts, int input_divisor,
                                         int outputs, int columns) {
  pdl_launch_dependents();
  pdl_wait();
  const Tile tile = find_tile<kRows>(offsets, experts, blockIdx.x);
  if (tile.first >= tile.end) return;  // all threads have one tile
  const int first_output = blockIdx.y * kOutputs;
  FactorStream<T, kRows> factors(x, x_stride, order, input_divisor, tile, weights[tile.expert],
                                 first_output, outputs, columns);
#pragma unroll
  for (int i = 0; i < kStages - 1; i++) factors.fetch();
  WarpSums<T, kRows> sums;
  for (int column = 0; column < columns; column += kStepColumns<T>) {
    const uint4* stage = factors.take();
    factors.fetch();
    sums.add(stage);
  }
  // Copies of zeros may still be under way, into memory that the next block on this processor gets.
  cp_async_wait<0>();

  const int warp_output = first_output + threadIdx.x / 32 * kWarpOutputs;
  sums.each([&](int row, int output, float sum) {
    const int sorted_row = tile.first + row;
    if (sorted_row >= tile.end || warp_output + output >= outputs) return;
    row_of(out, sorted_row, out_stride)[warp_output + output] = from_f32<Out>(sum);
  });
}

}  // namespace weft_grouped_linear

// out[i] = x[s] * weights[e]^T for the sorted rows i of expert e, where s is order[i] / input_divisor,
// or i when that is 0. `offsets` [experts + 1] says where each expert's rows begin. weights[e] has
// rows of `columns`, a multiple of 16 bytes, as x and the distance of its rows are.
// Grid: [tiles of rows, at most, and outputs / 64]; kStages steps of shared memory.
#define WEFT_GROUPED_LINEAR_KERNEL(rows, suffix, T, Out)                                          \
  extern "C" __global__ void __launch_bounds__(weft_grouped_linear::kThreads, 1)                  \
      grouped_linear##rows##_##suffix(Out* out, int out_stride, const T* x, int x_stride,         \
                                      const T* const* weights, const int* order,                  \
                                      const int* offsets, int experts, int input_divisor,         \
                                      int outputs, int columns) {                                 \
    weft_grouped_linear::multiply<T, Out, rows>(out, out_stride, x, x_stride, weights, order,     \
                                                offsets, experts, input_divisor, outputs,         \
                                                columns);                                         \
  }

#define WEFT_GROUPED_LINEAR_KERNELS(suffix, T, Out) \
  WEFT_GROUPED_LINEAR_KERNEL(16, suffix, T, Out)    \
  WEFT_GROUPED_LINEAR_KERNEL(64, suffix, T, Out)

WEFT_GROUPED_LINEAR_KERNELS(f32_f32, float, float)
WEFT_GROUPED_LINEAR_KERNELS(bf16_bf16, bf16, bf16)
WEFT_GROUPED_LINEAR_KERNELS(bf16_f32, bf16, float)
WEFT_GROUPED_LINEAR_KERNELS(f16_f16, f16, f16)
WEFT_GROUPED_LINEAR_KERNELS(f16_f32, f16, float)

#undef WEFT_GROUPED_LINEAR_KERNELS
#undef WEFT_GROUPED_LINEAR_KERNEL
