// Products of more than 8 rows with weights of 4 or 8 bits (quantized.cuh), and of rows that are sorted
// by expert. A block has up to kRows rows and 64 outputs; a warp all rows and 16 outputs, which are the
// tensor cores' 16-row factor: elements become numbers in registers, once for all rows of the block.
// Both factors pass through shared memory in steps of 128 inputs, some steps ahead; x is read in the
// order of its inputs, as lanes do the weight. Groups of 8 rows that a block does not have cost nothing.
// Few rows leave processors idle when outputs are few as well: then the inputs are divided too, and
// partial sums are added by the kernel behind.
#include "activations.cuh"
#include "mma.cuh"
#include "ptx.cuh"
#include "quantized_stages.cuh"
#include "result.cuh"

namespace weft_quantized_matrix {

// The sums of a warp. 16-bit types: fragments of 16 outputs and 8 rows, twice: those of a segment are of
// integers times x, and are scaled when it ends.
template <class T, class F>
class WarpSums {
 public:
  __device__ __forceinline__ void add(Stage<T, F> stage, SegmentLayout layout, int rows) {
    float scale[kLaneOutputs];
    unsigned minus_zero[kLaneOutputs];
#pragma unroll
    for (int chunk = 0; chunk < kStepChunks; chunk++) {
      unsigned pairs[kLaneOutputs][4];
#pragma unroll
      for (int row = 0; row < kLaneOutputs; row++) {
        if (layout.begins(chunk)) {
          const Segment segment = stage.segment(layout, row, chunk);
          scale[row] = segment.scale;
          minus_zero[row] = MinusZero<T, F>::of(segment.zero);
        }
        unsigned words[4];
        words_of(*stage.weight(row, chunk / kSpanChunks<F>), words);
        const int first = chunk % kSpanChunks<F> * kChunkWords<F>;
        chunk_pairs<T, F>(words + first, minus_zero[row], pairs[row]);
      }
#pragma unroll
      for (int i = 0; i < kGroups; i++) {
        if (8 * i >= rows) break;
        const int x_row = 8 * i + lane_index() / 4;
        const uint4 x = stage.input()[vector_offset<T>(x_row, 4 * chunk + lane_index() % 4)];
        mma_16816<T>(segment_sums_[i], {pairs[0][0], pairs[1][0], pairs[0][1], pairs[1][1]},
                     {x.x, x.y});
        mma_16816<T>(segment_sums_[i], {pairs[0][2], pairs[1][2], pairs[0][3], pairs[1][3]},
                     {x.z, x.w});
      }
      if (layout.ends(chunk)) scale_segment(scale);
    }
  }

  // Calls use(row, output, sum) for the lane's sums; both count from the warp's first.
  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int row = 8 * i + lane_index() % 4 * 2 + part % 2;
        use(row, part / 2 * 8 + lane_index() / 4, sums_[i][part]);
      }
    }
  }

 private:
  static constexpr int kGroups = kRows<T> / 8;

  __device__ __forceinline__ void scale_segment(const float (&scale)[kLaneOutputs]) {
#pragma unroll
    for (int i = 0; i < kGroups; i++) {
#pragma unroll
      for (int part = 0; part < 4; part++) {
        sums_[i][part] = fmaf(scale[part / 2], segment_sums_[i][part], sums_[i][part]);
        segment_sums_[i][part] = 0.0f;
      }
    }
  }

  float sums_[kGroups][4] = {};
  float segment_sums_[kGroups][4] = {};
};

// f32: lanes of an output divide a chunk's inputs, and add up their sums at the end.
template <class F>
class WarpSums<float, F> {
 public:
  __device__ __forceinline__ void add(Stage<float, F> stage, SegmentLayout layout, int rows) {
#pragma unroll
    for (int chunk = 0; chunk < kStepChunks; chunk++) {
      float w[kLaneOutputs][kLaneInputs];
#pragma unroll
      for (int row = 0; row < kLaneOutputs; row++) {
        const Segment segment = stage.segment(layout, row, chunk);
        unsigned words[4];
        words_of(*stage.weight(row, chunk / kSpanChunks<F>), words);
        const int first = chunk % kSpanChunks<F> * kChunkWords<F>;
        chunk_values<F>(words + first, MinusZero<float, F>::of(segment.zero), w[row]);
#pragma unroll
        for (int i = 0; i < kLaneInputs; i++) w[row][i] *= segment.scale;
      }
#pragma unroll
      for (int x_row = 0; x_row < kRows<float>; x_row++) {
        if (x_row >= rows) break;
#pragma unroll
        for (int part = 0; part < 2; part++) {
          const int vector = 8 * chunk + lane_index() % 4 * 2 + part;
          float x[4];
          unpack16<float>(stage.input()[vector_offset<float>(x_row, vector)], x);
#pragma unroll
          for (int row = 0; row < kLaneOutputs; row++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
              sums_[row][x_row] = fmaf(x[i], w[row][4 * part + i], sums_[row][x_row]);
            }
          }
        }
      }
    }
  }

  template <class Use>
  __device__ __forceinline__ void each(Use use) const {
#pragma unroll
    for (int row = 0; row < kLaneOutputs; row++) {
#pragma unroll
      for (int x_row = 0; x_row < kRows<float>; x_row++) {
        float sum = sums_[row][x_row];
        sum += __shfl_xor_sync(0xffffffffu, sum, 1);
        sum += __shfl_xor_sync(0xffffffffu, sum, 2);
        if (lane_index() % 4 == 0) use(x_row, row * 8 + lane_index() / 4, sum);
      }
    }
  }

 private:
  float sums_[kLaneOutputs][kRows<float>] = {};
};

template <class T, class F>
__device__ __forceinline__ void multiply(const Result<T>& out, const Input<T>& input, Tile tile,
                                         const Weight& whole, SegmentLayout layout,
                                         const float* bias, bool apply_gelu) {
  const int first_output = blockIdx.y * kOutputs;
  const Weight weight = whole.from_row(first_output);
  const int steps = weight.row_bytes / (kStepSpans<F> * kSpanBytes);
  const int first_step = static_cast<long long>(steps) * blockIdx.z / gridDim.z;
  const int last_step = static_cast<long long>(steps) * (blockIdx.z + 1) / gridDim.z;
  const int rows = tile.end - tile.first;
  FactorStream<T, F> factors(input, tile, weight, layout, first_step, last_step);
  // Weights never change: they are on their way before the kernels ahead have ended.
  factors.fetch_first_weights();
  pdl_wait();
  factors.fetch_first_inputs();
  WarpSums<T, F> sums;
  for (int step = first_step; step < last_step; step++) {
    const Stage<T, F> stage = factors.take();
    factors.fetch();
    sums.add(stage, layout, rows);
  }

  const int warp_output = warp_index() * kWarpOutputs;
  sums.each([&](int row, int output, float value) {
    if (row >= rows || warp_output + output >= weight.outputs) return;
    const int column = first_output + warp_output + output;
    if (bias != nullptr) value += bias[column];
    if (apply_gelu) value = gelu_tanh(value);
    out.store(tile.first + row, column, value);
  });
}

}  // namespace weft_quantized_matrix

// quantized_linear: out[t][o] = sum over k of x[t][k] weight[o][k], + bias[o] if there is one, then GELU
// if `gelu`. Where the grid has several layers each takes a part of the inputs, and writes its sums
// [rows][outputs] behind those of the layers before it, without bias and GELU.
// Grid: [rows / kRows, outputs / 64, parts].
//
// quantized_grouped_linear: out[i] = x[s] * weights[e]^T for the sorted rows i of expert e, where s is
// order[i] / input_divisor, or i when that is 0. `offsets` [experts + 1] says where each expert's rows
// begin. weights[e] holds two addresses: values and segments.
// Grid: [tiles of rows, at most, and outputs / 64].
//
// Both: `out` is f32 if `out_is_f32`, else of x's type. x has `columns`, a multiple of 8, and its rows
// begin at multiples of 16 bytes; behind them it counts as zero up to the weight's `inputs`, a multiple
// of 128. Segments have 2^segment_shift chunks. Shared memory: kStages stages.
#define WEFT_QUANTIZED_MATRIX_KERNELS(suffix, T, F)                                               \
  extern "C" __global__ void __launch_bounds__(weft_quantized_matrix::kThreads, 1)                \
      quantized_linear_##suffix(void* out, int out_stride, int out_is_f32, const T* x,            \
                                int x_stride, const unsigned char* values,                        \
                                const unsigned* segments, int segment_shift, unsigned zero_mask,  \
                                const float* bias, int gelu, int rows, int outputs, int columns,  \
                                int inputs) {                                                     \
    using namespace weft_quantized_matrix;                                                        \
    pdl_launch_dependents();                                                                      \
    const int first = blockIdx.x * kRows<T>;                                                      \
    const long long skipped = static_cast<long long>(blockIdx.z) * rows * outputs * 4;            \
    multiply<T, F>({static_cast<char*>(out) + skipped, out_stride, out_is_f32 != 0},              \
                   {x, x_stride, columns, nullptr, 0}, {0, first, min(rows, first + kRows<T>)},   \
                   {values, segments, inputs / 8 * kBits<F>,                                      \
                    inputs / kChunkInputs >> segment_shift, outputs},                             \
                   {segment_shift, zero_mask}, bias, gelu != 0);                                  \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(weft_quantized_matrix::kThreads, 1)                \
      quantized_grouped_linear_##suffix(                                                          \
          void* out, int out_stride, int out_is_f32, const T* x, int x_stride,                    \
          const unsigned long long* weights, int segment_shift, unsigned zero_mask,               \
          const int* order, const int* offsets, int experts, int input_divisor, int outputs,      \
          int columns, int inputs) {                                                              \
    using namespace weft_quantized_matrix;                                                        \
    pdl_launch_dependents();                                                                      \
    pdl_wait();                                                                                   \
    const Tile tile = find_tile<kRows<T>>(offsets, experts, blockIdx.x);                          \
    if (tile.first >= tile.end) return; /* all threads have one tile */                           \
    const unsigned long long* weight = weights + 2 * tile.expert;                                 \
    multiply<T, F>({out, out_stride, out_is_f32 != 0},                                            \
                   {x, x_stride, columns, order, input_divisor}, tile,                            \
                   {reinterpret_cast<const unsigned char*>(weight[0]),                            \
                    reinterpret_cast<const unsigned*>(weight[1]), inputs / 8 * kBits<F>,          \
                    inputs / kChunkInputs >> segment_shift, outputs},                             \
                   {segment_shift, zero_mask}, nullptr, false);                                   \
  }

#define WEFT_QUANTIZED_MATRIX_KERNELS_OF(suffix, T)                        \
  WEFT_QUANTIZED_MATRIX_KERNELS(int4_##suffix, T, weft_quantized::Int4)    \
  WEFT_QUANTIZED_MATRIX_KERNELS(int8_##suffix, T, weft_quantized::Int8)

WEFT_QUANTIZED_MATRIX_KERNELS_OF(f32, float)
WEFT_QUANTIZED_MATRIX_KERNELS_OF(bf16, bf16)
WEFT_QUANTIZED_MATRIX_KERNELS_OF(f16, f16)

#undef WEFT_QUANTIZED_MATRIX_KERNELS_OF
#undef WEFT_QUANTIZED_MATRIX_KERNELS
