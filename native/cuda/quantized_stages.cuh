// The factors of a product of many rows with a weight of 4 or 8 bits on their way through shared memory.
#ifndef WEFT_QUANTIZED_STAGES_CUH
#define WEFT_QUANTIZED_STAGES_CUH

#include "expert_tiles.cuh"
#include "ptx.cuh"
#include "quantized.cuh"
#include "rows.cuh"

namespace weft_quantized_matrix {

using namespace weft_quantized;
using weft_expert_tiles::find_tile;
using weft_expert_tiles::Tile;

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kOutputs = 64;
constexpr int kWarpOutputs = kOutputs / kWarps;
constexpr int kLaneOutputs = 2;
constexpr int kStages = 3;

constexpr int kStepInputs = 128;
constexpr int kStepChunks = kStepInputs / kChunkInputs;
template <class F>
constexpr int kStepSpans = kStepInputs / kSpanInputs<F>;
constexpr int kMaxStepSegments = kStepChunks;

// f32 rows are multiplied without tensor cores: fewer of them, as each sum has a register.
template <class T>
constexpr int kRows = 64;
template <>
inline constexpr int kRows<float> = 16;

// A stage: rows of x, vectors of the weight by lane, segments.
template <class T>
constexpr int kRowVectors = kStepInputs / kVectorSize<T>;
template <class T>
constexpr int kInputVectors = kRows<T> * kRowVectors<T>;
template <class F>
constexpr int kWeightVectors = kLaneOutputs * kStepSpans<F> * kThreads;
constexpr int kSegmentVectors = kOutputs * kMaxStepSegments / 4;
template <class T, class F>
constexpr int kStageVectors = kInputVectors<T> + kWeightVectors<F> + kSegmentVectors;

__device__ __forceinline__ int lane_index() { return threadIdx.x % 32; }
__device__ __forceinline__ int warp_index() { return threadIdx.x / 32; }

// Where vector `vector` of a row of x stands: neighbouring rows lie on different banks.
template <class T>
__device__ __forceinline__ int vector_offset(int row, int vector) {
  return row * kRowVectors<T> + (vector ^ (row % 2 * 4));
}

// How weights are divided into segments of 2^shift chunks.
struct SegmentLayout {
  int shift;
  unsigned zero_mask;

  __device__ __forceinline__ int step_count() const { return kStepChunks >> shift; }
  __device__ __forceinline__ bool begins(int chunk) const {
    return (chunk & ((1 << shift) - 1)) == 0;
  }
  __device__ __forceinline__ bool ends(int chunk) const { return begins(chunk + 1); }
};

// A step of both factors in shared memory.
template <class T, class F>
struct Stage {
  uint4* vectors;

  __device__ __forceinline__ uint4* input() const { return vectors; }
  __device__ __forceinline__ uint4* weight(int row, int span) const {
    return vectors + kInputVectors<T> + (row * kStepSpans<F> + span) * kThreads + threadIdx.x;
  }
  // [output of the block][segment of the step]
  __device__ __forceinline__ unsigned* segments() const {
    return reinterpret_cast<unsigned*>(vectors + kInputVectors<T> + kWeightVectors<F>);
  }

  __device__ __forceinline__ Segment segment(SegmentLayout layout, int row, int chunk) const {
    const int output = warp_index() * kWarpOutputs + row * 8 + lane_index() / 4;
    const unsigned word = segments()[output * layout.step_count() + (chunk >> layout.shift)];
    return unpack_segment(word, layout.zero_mask);
  }
};

// A weight's rows from the block's first output on.
struct Weight {
  const unsigned char* values;
  const unsigned* segments;
  int row_bytes;
  int row_segments;
  int outputs;

  __device__ __forceinline__ Weight from_row(int row) const {
    const long long skipped = row;
    return {values + skipped * row_bytes, segments + skipped * row_segments, row_bytes,
            row_segments, outputs - row};
  }
};

// The rows of x that a block multiplies.
template <class T>
struct Input {
  const T* x;
  int stride;
  int columns;
  const int* order;
  int divisor;  // 0: rows are in order

  __device__ __forceinline__ const T* row(int sorted_row) const {
    const int source = divisor == 0 ? sorted_row : order[sorted_row] / divisor;
    return row_of(x, source, stride);
  }
};

// The block's part of both factors on its way through shared memory.
template <class T, class F>
class FactorStream {
 public:
  __device__ __forceinline__ FactorStream(const Input<T>& input, Tile tile, const Weight& weight,
                                          SegmentLayout layout, int first_step, int last_step)
      : weight_(weight),
        layout_(layout),
        columns_(input.columns),
        rows_(tile.end - tile.first),
        first_step_(first_step),
        last_step_(last_step) {
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      const int row = copied_row(i);
      x_[i] = input.row(tile.first + (row < rows_ ? row : 0)) + copied_vector() * kVectorSize<T>;
    }
  }

  // Starts the copies of the weight's part of the first steps.
  __device__ __forceinline__ void fetch_first_weights() const {
#pragma unroll
    for (int i = 0; i < kStages - 1; i++) fetch_weight(i);
  }

  // Starts those of x's part.
  __device__ __forceinline__ void fetch_first_inputs() {
#pragma unroll
    for (int i = 0; i < kStages - 1; i++) {
      fetch_input(i);
      cp_async_commit();
    }
    fetched_ = kStages - 1;
  }

  // Starts the copies of the next step, if there is one.
  __device__ __forceinline__ void fetch() {
    fetch_weight(fetched_);
    fetch_input(fetched_);
    fetched_++;
    cp_async_commit();
  }

  // Waits for the oldest step that has not been taken. Behind it no warp reads earlier ones.
  __device__ __forceinline__ Stage<T, F> take() {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    return stage_of(taken_++);
  }

 private:
  // Rows that the block's threads copy at once.
  static constexpr int kCopiedRows = kThreads / kRowVectors<T>;
  static constexpr int kCopies = kRows<T> / kCopiedRows;

  static __device__ __forceinline__ int copied_row(int i) {
    return threadIdx.x / kRowVectors<T> + i * kCopiedRows;
  }
  static __device__ __forceinline__ int copied_vector() { return threadIdx.x % kRowVectors<T>; }

  static __device__ __forceinline__ Stage<T, F> stage_of(int number) {
    uint4* stages = reinterpret_cast<uint4*>(shared_memory());
    return {stages + number % kStages * kStageVectors<T, F>};
  }

  // Step `number` of the block's, if there is one.
  __device__ __forceinline__ void fetch_input(int number) const {
    const int step = first_step_ + number;
    if (step >= last_step_) return;
    const Stage<T, F> stage = stage_of(number);
    const int first = step * kStepInputs;
    const bool has_column = first + copied_vector() * kVectorSize<T> < columns_;
    const int groups = (rows_ + 7) / 8 * 8;
#pragma unroll
    for (int i = 0; i < kCopies; i++) {
      const int row = copied_row(i);
      if (row >= groups) break;
      cp_async16_or_zero(stage.input() + vector_offset<T>(row, copied_vector()), x_[i] + first,
                         has_column && row < rows_);
    }
  }

  __device__ __forceinline__ void fetch_weight(int number) const {
    const int step = first_step_ + number;
    if (step >= last_step_) return;
    const Stage<T, F> stage = stage_of(number);
    const int first_byte = step * kStepSpans<F> * kSpanBytes + lane_index() % 4 * 16;
#pragma unroll
    for (int row = 0; row < kLaneOutputs; row++) {
      const int output = warp_index() * kWarpOutputs + row * 8 + lane_index() / 4;
      const unsigned char* values =
          weight_.values + static_cast<long long>(output) * weight_.row_bytes + first_byte;
#pragma unroll
      for (int span = 0; span < kStepSpans<F>; span++) {
        cp_async16_or_zero(stage.weight(row, span), values + span * kSpanBytes,
                           output < weight_.outputs);
      }
    }
    fetch_segments(stage, step);
  }

  __device__ __forceinline__ void fetch_segments(Stage<T, F> stage, int step) const {
    const int count = layout_.step_count();
    for (int i = threadIdx.x; i < kOutputs * count; i += kThreads) {
      const int output = i / count;
      const long long row = static_cast<long long>(output) * weight_.row_segments;
      cp_async4_or_zero(stage.segments() + i,
                        weight_.segments + row + step * count + i % count,
                        output < weight_.outputs);
    }
  }

  const T* x_[kCopies];
  const Weight weight_;
  const SegmentLayout layout_;
  int columns_;
  int rows_;
  int first_step_;
  int last_step_;
  int fetched_ = 0;
  int taken_ = 0;
};

}  // namespace weft_quantized_matrix

#endif  // WEFT_QUANTIZED_STAGES_CUH
