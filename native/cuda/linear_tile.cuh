// A step of a product of up to 8 rows of x: how 8 warps divide 16 weight rows, and what each does
// with its share.
#ifndef WEFT_LINEAR_TILE_CUH
#define WEFT_LINEAR_TILE_CUH

#include "mma.cuh"
#include "numbers.cuh"

namespace weft_linear {

constexpr int kWarps = 8;
constexpr int kThreads = 32 * kWarps;

// Most rows of x.
constexpr int kMaxRows = 8;

// A tile has two groups of 8 weight rows; lanes 4g to 4g + 3 have row g of each.
constexpr int kGroups = 2;
constexpr int kGroupRows = 8;
constexpr int kTileRows = kGroups * kGroupRows;

// A step of a warp takes 128 bytes of each row, as two vectors of each of four lanes.
constexpr int kHalves = 2;
template <class T>
constexpr int kHalfColumns = 4 * kVectorSize<T>;
template <class T>
constexpr int kStepColumns = kHalves * kHalfColumns<T>;

// Warps take neighbouring steps: columns of a step of the block.
template <class T>
constexpr int kBlockColumns = kWarps * kStepColumns<T>;

// Partial sums of a tile: one for each warp, row of x and weight row.
constexpr int kPartialSums = kWarps * kMaxRows * kTileRows;

__device__ __forceinline__ int warp_index() { return threadIdx.x / 32; }

// The lane's row in a group of weight rows; on tensor cores its row of x as well.
__device__ __forceinline__ int lane_row() { return threadIdx.x % 32 / 4; }

// First column of the lane in the block's first step.
template <class T>
__device__ __forceinline__ int lane_column() {
  return warp_index() * kStepColumns<T> + threadIdx.x % 4 * kVectorSize<T>;
}

// The rows of x, in shared or global memory; `columns` is a multiple of a vector.
template <class T>
struct InputRows {
  const T* rows_of_x;
  int stride;
  int rows;
  int columns;

  // The vector at [row][column]; zeros outside.
  __device__ __forceinline__ uint4 vector(int row, int column) const {
    if (row >= rows || column >= columns) return {0, 0, 0, 0};
    const long long offset = static_cast<long long>(row) * stride + column;
    return *reinterpret_cast<const uint4*>(rows_of_x + offset);
  }
};

// The weight's vectors that a lane has in a step.
struct StepVectors {
  uint4 of[kGroups][kHalves];
};

// A warp's sums over its columns of a tile. 16-bit types: on tensor cores.
template <class T>
class TileSums {
 public:
  // `column`: of the lane's first vector.
  __device__ __forceinline__ void add(const StepVectors& weight, const InputRows<T>& x,
                                      int column) {
#pragma unroll
    for (int half = 0; half < kHalves; half++) {
      const uint4 v = x.vector(lane_row(), column + half * kHalfColumns<T>);
      const unsigned first[4] = {v.x, 0, v.y, 0};
      const unsigned second[4] = {v.z, 0, v.w, 0};
#pragma unroll
      for (int group = 0; group < kGroups; group++) {
        const uint4 w = weight.of[group][half];
        mma_16816<T>(sums_[group], first, {w.x, w.y});
        mma_16816<T>(sums_[group], second, {w.z, w.w});
      }
    }
  }

  // Writes the warp's partial sums [row of x][weight row].
  __device__ __forceinline__ void store(float* partial, int rows) const {
    const int row = lane_row();
    if (row >= rows) return;
#pragma unroll
    for (int group = 0; group < kGroups; group++) {
      float* place = partial + row * kTileRows + group * kGroupRows + threadIdx.x % 4 * 2;
      place[0] = sums_[group][0];
      place[1] = sums_[group][1];
    }
  }

 private:
  float sums_[kGroups][4] = {};
};

// f32: a lane multiplies its vectors by those of every row of x.
template <>
class TileSums<float> {
 public:
  __device__ __forceinline__ void add(const StepVectors& weight, const InputRows<float>& x,
                                      int column) {
#pragma unroll
    for (int half = 0; half < kHalves; half++) {
      float w[kGroups][4];
#pragma unroll
      for (int group = 0; group < kGroups; group++) {
        unpack16<float>(weight.of[group][half], w[group]);
      }
#pragma unroll
      for (int row = 0; row < kMaxRows; row++) {
        if (row < x.rows) {
          float v[4];
          unpack16<float>(x.vector(row, column + half * kHalfColumns<float>), v);
#pragma unroll
          for (int group = 0; group < kGroups; group++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
              sums_[group][row] = fmaf(v[i], w[group][i], sums_[group][row]);
            }
          }
        }
      }
    }
  }

  __device__ __forceinline__ void store(float* partial, int rows) const {
#pragma unroll
    for (int group = 0; group < kGroups; group++) {
#pragma unroll
      for (int row = 0; row < kMaxRows; row++) {
        if (row < rows) {
          float sum = sums_[group][row];
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          if (threadIdx.x % 4 == 0) {
            partial[row * kTileRows + group * kGroupRows + lane_row()] = sum;
          }
        }
      }
    }
  }

 private:
  float sums_[kGroups][kMaxRows] = {};
};

}  // namespace weft_linear

#endif  // WEFT_LINEAR_TILE_CUH
