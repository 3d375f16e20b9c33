// Products of up to 8 rows with a weight of 4 or 8 bits (quantized.cuh): decoding. As in linear.cu each
// lane passes its own 16-byte vectors of the weight through a ring in shared memory that is filled
// before pdl_wait(), and a block takes an equal number of outputs, so that memory is always busy. The
// segments' words travel in the ring too, copied by the warp that needs them.
// At 3.4 TB/s a multiprocessor gets some 15 bytes a cycle, 30 elements of int4. Making numbers of them
// takes 11 instructions for 8 of int4 and 15 for 8 of int8 in bf16 (10 in f16), 32 lanes at a time: less
// than half of what can be issued.
#include "activations.cuh"
#include "linear_block.cuh"
#include "ptx.cuh"
#include "quantized_tile.cuh"
#include "result.cuh"

namespace weft_quantized_linear {

using weft_linear::copy_to_shared;
using weft_linear::kPartialSums;
using weft_linear::kThreads;
using weft_linear::kWarps;
using weft_linear::OutputRange;
using weft_linear::sum_of_warps;
using weft_linear::warp_index;

// Shared memory: the ring of kStages steps of vectors, that of their segments, two buffers of partial
// sums, then x.
constexpr int kStages = 4;
constexpr int kStageVectors = kLaneRows * kStepSpans * kThreads;
constexpr int kVectorBytes = kStages * kStageVectors * 16;
constexpr int kMaxStepSegments = kStepInputs<Int4> / kChunkInputs;
constexpr int kWarpSegments = kTileRows * kMaxStepSegments;
constexpr int kSegmentBytes = kStages * kWarps * kWarpSegments * 4;
constexpr int kRingBytes = kVectorBytes + kSegmentBytes;
constexpr int kInputOffset = kRingBytes + 2 * kPartialSums * 4;

// A weight, and where a tile has its rows. A gated weight has the gate's rows, then the up
// projection's: a tile has 8 of each.
struct Weight {
  const unsigned char* values;
  const unsigned* segments;
  int row_bytes;
  int row_segments;
  int outputs;
  bool gated;

  __device__ __forceinline__ int tile_outputs() const { return gated ? kGroupRows : kTileRows; }

  // The output that tile row `row` of a tile contributes to, and the weight's row.
  __device__ __forceinline__ int output(int tile, int row) const {
    return tile + (gated ? row % kGroupRows : row);
  }
  __device__ __forceinline__ long long weight_row(int tile, int row) const {
    return output(tile, row) + (gated ? row / kGroupRows * outputs : 0);
  }
};

// The block's part of a weight on its way through the ring, tile by tile.
template <class F>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const Weight& weight, OutputRange own,
                                          int segment_shift)
      : weight_(weight),
        last_output_(own.last),
        count_shift_(kCountShift - segment_shift),
        tile_(own.first) {}

  // Starts the copies of the warp's next step, if there is one.
  __device__ __forceinline__ void fetch() {
    // Other lanes read the segments of the step that is overwritten.
    __syncwarp();
    if (tile_ < last_output_) {
      if ((step_ * kWarps + warp_index()) * kStepBytes < weight_.row_bytes) {
        fetch_vectors();
        fetch_segments();
      }
      fetched_++;
      step_++;
      if (step_ * kWarps * kStepBytes >= weight_.row_bytes) {
        step_ = 0;
        tile_ += weight_.tile_outputs();
        // As in linear.cu: not any earlier.
        if (tile_ >= last_output_) pdl_launch_dependents();
      }
    }
    cp_async_commit();
  }

  // Waits for the oldest step that has not been taken.
  __device__ __forceinline__ void take() {
    cp_async_wait<kStages - 1>();
    __syncwarp();
    taken_++;
  }

  // The vectors of the step that was taken last.
  __device__ __forceinline__ StepVectors vectors() const {
    StepVectors vectors;
#pragma unroll
    for (int row = 0; row < kLaneRows; row++) {
#pragma unroll
      for (int span = 0; span < kStepSpans; span++) {
        vectors.of[row][span] = *vector_place(taken_ - 1, row, span);
      }
    }
    return vectors;
  }

  // Its segments.
  __device__ __forceinline__ StepSegments segments(unsigned zero_mask) const {
    return {segment_place(taken_ - 1), kCountShift - count_shift_, 1 << count_shift_, zero_mask};
  }

 private:
  static constexpr int kStepBytes = kStepSpans * kSpanBytes;

  // Chunks of a step, as a power of two.
  static constexpr int kCountShift = kBits<F> == 4 ? 3 : 2;
  static_assert(1 << kCountShift == kStepChunks<F>, "a step has 8 chunks of int4, or 4 of int8");

  __device__ __forceinline__ void fetch_vectors() {
    const int first_byte = (step_ * kWarps + warp_index()) * kStepBytes + threadIdx.x % 4 * 16;
#pragma unroll
    for (int row = 0; row < kLaneRows; row++) {
      const int tile_row = row * kGroupRows + lane_row();
      const unsigned char* values =
          weight_.values + weight_.weight_row(tile_, tile_row) * weight_.row_bytes;
      const bool has_row = weight_.output(tile_, tile_row) < last_output_;
#pragma unroll
      for (int span = 0; span < kStepSpans; span++) {
        const int byte = first_byte + span * kSpanBytes;
        cp_async16_or_zero(vector_place(fetched_, row, span), values + byte,
                           has_row && byte < weight_.row_bytes);
      }
    }
  }

  __device__ __forceinline__ void fetch_segments() {
    const int count = 1 << count_shift_;
    const int first = (step_ * kWarps + warp_index()) << count_shift_;
    unsigned* place = segment_place(fetched_);
    for (int i = threadIdx.x % 32; i < kTileRows * count; i += 32) {
      const int tile_row = i >> count_shift_;
      const int segment = first + (i & (count - 1));
      const unsigned* word = weight_.segments +
                             weight_.weight_row(tile_, tile_row) * weight_.row_segments + segment;
      const bool has_row = weight_.output(tile_, tile_row) < last_output_;
      cp_async4_or_zero(place + i, word, has_row && segment < weight_.row_segments);
    }
  }

  static __device__ __forceinline__ uint4* vector_place(unsigned step, int row, int span) {
    uint4* ring = reinterpret_cast<uint4*>(shared_memory());
    return ring + step % kStages * kStageVectors + (row * kStepSpans + span) * kThreads +
           threadIdx.x;
  }

  static __device__ __forceinline__ unsigned* segment_place(unsigned step) {
    unsigned* ring = reinterpret_cast<unsigned*>(shared_memory() + kVectorBytes);
    return ring + (step % kStages * kWarps + warp_index()) * kWarpSegments;
  }

  const Weight weight_;
  int last_output_;
  int count_shift_;  // segments of a step, as a power of two
  int tile_;  // first output of the tile that is fetched
  int step_ = 0;  // the block's step in the tile's rows that is fetched
  unsigned fetched_ = 0;
  unsigned taken_ = 0;
};

template <class T, class F>
__device__ __forceinline__ void multiply(const Result<T>& out, InputRows<T> x, bool x_in_shared,
                                         const Weight& weight, int segment_shift,
                                         unsigned zero_mask, const float* bias, bool apply_gelu) {
  const OutputRange own = weft_linear::outputs_of_block(weight.outputs);
  WeightStream<F> stream(weight, own, segment_shift);
#pragma unroll
  for (int i = 0; i < kStages; i++) stream.fetch();
  weft_linear::prefetch(weight.values, own, {weight.row_bytes, weight.outputs, weight.gated});

  pdl_wait();
  if (x_in_shared) x = copy_to_shared(x, kInputOffset);

  constexpr int kBlockInputs = kWarps * kStepInputs<F>;
  const int inputs = weight.row_bytes * 8 / kBits<F>;
  const int lane_input = threadIdx.x % 4 * kLaneInputs;
  const int tile_outputs = weight.tile_outputs();
  float* partials = reinterpret_cast<float*>(shared_memory() + kRingBytes);
  int other_buffer = kPartialSums;
  for (int tile = own.first; tile < own.last; tile += tile_outputs) {
    TileSums<T, F> sums;
    for (int step = 0; step < inputs; step += kBlockInputs) {
      stream.take();
      const int first = step + warp_index() * kStepInputs<F>;
      if (first < inputs) {
        sums.add(stream.vectors(), stream.segments(zero_mask), x, first + lane_input,
                 inputs - first);
      }
      stream.fetch();
    }
    sums.store(partials + warp_index() * (kMaxRows * kTileRows), x.rows);
    __syncthreads();

    const int row = threadIdx.x / tile_outputs;
    const int tile_row = threadIdx.x % tile_outputs;
    const int output = tile + tile_row;
    if (row < x.rows && output < own.last) {
      float value = sum_of_warps(partials, row, tile_row);
      if (bias != nullptr) value += bias[output];
      if (weight.gated) {
        float factor = sum_of_warps(partials, row, kGroupRows + tile_row);
        if (bias != nullptr) factor += bias[weight.outputs + output];
        value = silu(value) * factor;
      } else if (apply_gelu) {
        value = gelu_tanh(value);
      }
      out.store(row, output, value);
    }
    // As in linear.cu: two buffers, so that one barrier is enough.
    partials += other_buffer;
    other_buffer = -other_buffer;
  }
}

}  // namespace weft_quantized_linear

// out[t][o] = sum over k of x[t][k] weight[o][k], + bias[o] if there is one, then GELU if `gelu`; `out` is
// f32 if `out_is_f32`, else of x's type.
//
// gated: out[t][o] = silu(g) * u, where g and u are the products with rows o and outputs + o.
//
// x has `columns`, a multiple of 8, and its rows begin at multiples of 16 bytes; behind them it counts as
// zero up to the weight's `inputs`, a multiple of 128. Segments have 2^segment_shift chunks.
// Grid: up to one block an output. Shared memory: kInputOffset bytes, and x if `x_in_shared`.
#define WEFT_QUANTIZED_LINEAR_KERNEL(suffix, T, F)                                                \
  extern "C" __global__ void __launch_bounds__(weft_linear::kThreads, 1)                           \
      skinny_quantized_linear_##suffix(                                                           \
          void* out, int out_stride, int out_is_f32, const T* x, int x_stride, int x_in_shared,   \
          const unsigned char* values, const unsigned* segments, int segment_shift,               \
          unsigned zero_mask, const float* bias, int gelu, int gated, int rows, int outputs,      \
          int columns, int inputs) {                                                              \
    using namespace weft_quantized_linear;                                                        \
    const int row_bytes = inputs / 8 * kBits<F>;                                                  \
    const int row_segments = inputs / kChunkInputs >> segment_shift;                              \
    multiply<T, F>({out, out_stride, out_is_f32 != 0}, {x, x_stride, rows, columns},              \
                   x_in_shared != 0,                                                              \
                   {values, segments, row_bytes, row_segments, outputs, gated != 0},              \
                   segment_shift, zero_mask, bias, gelu != 0);                                    \
  }

#define WEFT_QUANTIZED_LINEAR_KERNELS(suffix, T)                                    \
  WEFT_QUANTIZED_LINEAR_KERNEL(int4_##suffix, T, weft_quantized::Int4) \
  WEFT_QUANTIZED_LINEAR_KERNEL(int8_##suffix, T, weft_quantized::Int8)

WEFT_QUANTIZED_LINEAR_KERNELS(f32, float)
WEFT_QUANTIZED_LINEAR_KERNELS(bf16, bf16)
WEFT_QUANTIZED_LINEAR_KERNELS(f16, f16)

#undef WEFT_QUANTIZED_LINEAR_KERNELS
#undef WEFT_QUANTIZED_LINEAR_KERNEL
