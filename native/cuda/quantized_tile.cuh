// A step of a product of up to 8 rows of x with a weight of 4 or 8 bits: as linear_tile.cuh, but the
// weight is the tensor cores' 16-row factor, so that a lane needs the scales of its own two rows only.
// Sums over a segment are of integers times x; the scale enters behind them, in f32: nothing is rounded
// that a product with 16-bit weights would not round.
#ifndef WEFT_QUANTIZED_TILE_CUH
#define WEFT_QUANTIZED_TILE_CUH

#include "linear_tile.cuh"
#include "mma.cuh"
#include "quantized.cuh"

namespace weft_quantized_linear {

using namespace weft_quantized;
using weft_linear::InputRows;
using weft_linear::kMaxRows;
using weft_linear::kTileRows;
using weft_linear::lane_row;

// A tile's rows of which a lane has a part.
constexpr int kLaneRows = 2;
constexpr int kGroupRows = kTileRows / kLaneRows;

// A step of a warp takes 128 bytes of each row.
constexpr int kStepSpans = 2;
template <class F>
constexpr int kStepInputs = kStepSpans * kSpanInputs<F>;
template <class F>
constexpr int kStepChunks = kStepSpans * kSpanChunks<F>;

// The weight's vectors that a lane has in a step.
struct StepVectors {
  uint4 of[kLaneRows][kStepSpans];
};

// How a step is cut into segments: 2^shift chunks each.
struct StepSegments {
  const unsigned* words;  // in shared memory, [tile row][segment of the step]
  int shift;
  int count;
  unsigned zero_mask;

  __device__ __forceinline__ bool begins(int chunk) const {
    return (chunk & ((1 << shift) - 1)) == 0;
  }
  __device__ __forceinline__ bool ends(int chunk) const { return begins(chunk + 1); }

  __device__ __forceinline__ Segment at(int lane_row_index, int chunk) const {
    const int row = lane_row_index * kGroupRows + lane_row();
    return unpack_segment(words[row * count + (chunk >> shift)], zero_mask);
  }
};

// A warp's sums over its inputs of a tile. 16-bit types: on tensor cores.
template <class T, class F>
class TileSums {
 public:
  // `input`: the lane's first of the step. `inputs`: how many the warp's step has.
  __device__ __forceinline__ void add(const StepVectors& weight, const StepSegments& segments,
                                      const InputRows<T>& x, int input, int inputs) {
    Segment segment[kLaneRows];
    unsigned minus_zero[kLaneRows];
    float sums[4] = {};
#pragma unroll
    for (int chunk = 0; chunk < kStepChunks<F>; chunk++) {
      if (chunk * kChunkInputs >= inputs) break;
      unsigned pairs[kLaneRows][4];
#pragma unroll
      for (int row = 0; row < kLaneRows; row++) {
        if (segments.begins(chunk)) {
          segment[row] = segments.at(row, chunk);
          minus_zero[row] = MinusZero<T, F>::of(segment[row].zero);
        }
        unsigned words[4];
        words_of(weight.of[row][chunk / kSpanChunks<F>], words);
        const int first = chunk % kSpanChunks<F> * kChunkWords<F>;
        chunk_pairs<T, F>(words + first, minus_zero[row], pairs[row]);
      }
      const uint4 v = x.vector(lane_row(), input + chunk * kChunkInputs);
      mma_16816<T>(sums, {pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]}, {v.x, v.y});
      mma_16816<T>(sums, {pairs[0][2], pairs[1][2], pairs[0][3], pairs[1][3]}, {v.z, v.w});
      if (segments.ends(chunk)) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          sums_[i] = fmaf(segment[i / 2].scale, sums[i], sums_[i]);
          sums[i] = 0.0f;
        }
      }
    }
  }

  // Writes the warp's partial sums [row of x][weight row].
  __device__ __forceinline__ void store(float* partial, int rows) const {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = threadIdx.x % 4 * 2 + i % 2;
      if (row < rows) partial[row * kTileRows + i / 2 * kGroupRows + lane_row()] = sums_[i];
    }
  }

 private:
  float sums_[4] = {};
};

// f32: a lane multiplies its inputs by those of every row of x.
template <class F>
class TileSums<float, F> {
 public:
  __device__ __forceinline__ void add(const StepVectors& weight, const StepSegments& segments,
                                      const InputRows<float>& x, int input, int inputs) {
    Segment segment[kLaneRows];
#pragma unroll
    for (int chunk = 0; chunk < kStepChunks<F>; chunk++) {
      if (chunk * kChunkInputs >= inputs) break;
      float w[kLaneRows][kLaneInputs];
#pragma unroll
      for (int row = 0; row < kLaneRows; row++) {
        if (segments.begins(chunk)) segment[row] = segments.at(row, chunk);
        unsigned words[4];
        words_of(weight.of[row][chunk / kSpanChunks<F>], words);
        const int first = chunk % kSpanChunks<F> * kChunkWords<F>;
        chunk_values<F>(words + first, MinusZero<float, F>::of(segment[row].zero), w[row]);
#pragma unroll
        for (int i = 0; i < kLaneInputs; i++) w[row][i] *= segment[row].scale;
      }
#pragma unroll
      for (int x_row = 0; x_row < kMaxRows; x_row++) {
        if (x_row >= x.rows) continue;
#pragma unroll
        for (int part = 0; part < kLaneInputs; part += 4) {
          float v[4];
          unpack16<float>(x.vector(x_row, input + chunk * kChunkInputs + part), v);
#pragma unroll
          for (int row = 0; row < kLaneRows; row++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
              sums_[row][x_row] = fmaf(v[i], w[row][part + i], sums_[row][x_row]);
            }
          }
        }
      }
    }
  }

  __device__ __forceinline__ void store(float* partial, int rows) const {
#pragma unroll
    for (int row = 0; row < kLaneRows; row++) {
#pragma unroll
      for (int x_row = 0; x_row < kMaxRows; x_row++) {
        if (x_row < rows) {
          float sum = sums_[row][x_row];
          sum += __shfl_xor_sync(0xffffffffu, sum, 1);
          sum += __shfl_xor_sync(0xffffffffu, sum, 2);
          if (threadIdx.x % 4 == 0) {
            partial[x_row * kTileRows + row * kGroupRows + lane_row()] = sum;
          }
        }
      }
    }
  }

 private:
  float sums_[kLaneRows][kMaxRows] = {};
};

}  // namespace weft_quantized_linear

#endif  // WEFT_QUANTIZED_TILE_CUH
