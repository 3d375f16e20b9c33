// Products of up to 8 rows with a weight: decoding. Each weight is read once and hardly computed with,
// so the kernel is as fast as its bytes arrive:
// - One block a multiprocessor takes an equal number of consecutive outputs, to the row: there is no
//   last wave that leaves multiprocessors idle.
// - Every lane copies its own 16-byte vectors into its own places of a ring in shared memory and reads
//   them from there itself. 64 KB are under way on a multiprocessor, some twice what bandwidth times
//   latency asks for, without registers to hold them and without a barrier.
// - The ring is filled before pdl_wait(): weights never change. A block leaves shared memory for one
//   of the next product, which fills its ring while this one ends and while the small kernels in
//   between run. So memory is busy all the time: a ring lasts 2 us at 4.3 TB/s on 132 processors, and
//   what is fetched into the second-level cache behind it another 2 us.
// - bf16 and f16 are multiplied on tensor cores, with x as the 16-row factor (half of it zero) and 8
//   weight rows as the other: 8 rows of x take as long as one. A lane's vector serves two k16 products
//   as it lies: a product may take its columns in any order if both factors take the same.
// A sum is cut by columns alone, so its bits depend neither on the other rows nor on the grid.
#include "activations.cuh"
#include "linear_block.cuh"
#include "linear_tile.cuh"
#include "ptx.cuh"

namespace weft_linear {

// Shared memory: the ring of kStages steps, two buffers of partial sums, then x.
constexpr int kStages = 4;
constexpr int kStageVectors = kGroups * kHalves * kThreads;
constexpr int kRingBytes = kStages * kStageVectors * 16;
constexpr int kInputOffset = kRingBytes + 2 * kPartialSums * 4;

// Outputs of a tile: 16 weight rows, or 8 of the gate and 8 of the up projection.
template <bool kGated>
constexpr int kTileOutputs = kGated ? kGroupRows : kTileRows;

// A lane's vectors of the weight on their way through its part of the ring, tile by tile.
template <class T, bool kGated>
class WeightStream {
 public:
  __device__ __forceinline__ WeightStream(const T* weight, OutputRange own, int outputs,
                                          int columns)
      : weight_(weight),
        outputs_(outputs),
        columns_(columns),
        last_output_(own.last),
        tile_(own.first) {}

  // Starts the copies of the warp's next step, if there is one.
  __device__ __forceinline__ void fetch() {
    if (tile_ < last_output_) {
      const int column = step_ + lane_column<T>();
#pragma unroll
      for (int group = 0; group < kGroups; group++) {
        const int output = tile_ + lane_row() + (kGated ? 0 : group * kGroupRows);
        const int row = output + (kGated ? group * outputs_ : 0);
        const T* vector = weight_ + static_cast<long long>(row) * columns_ + column;
#pragma unroll
        for (int half = 0; half < kHalves; half++) {
          const int distance = half * kHalfColumns<T>;
          const bool in_range = output < last_output_ && column + distance < columns_;
          cp_async16_or_zero(place(fetched_, group, half), vector + distance, in_range);
        }
      }
      fetched_++;
      step_ += kBlockColumns<T>;
      if (step_ >= columns_) {
        step_ = 0;
        tile_ += kTileOutputs<kGated>;
        // What dependents fetched into the second-level cache any earlier, this block's own weights
        // would push out again.
        if (tile_ >= last_output_) pdl_launch_dependents();
      }
    }
    cp_async_commit();
  }

  // The oldest step that has not been taken. One more is to be fetched before the next is taken.
  __device__ __forceinline__ StepVectors take() {
    cp_async_wait<kStages - 1>();
    StepVectors vectors;
#pragma unroll
    for (int group = 0; group < kGroups; group++) {
#pragma unroll
      for (int half = 0; half < kHalves; half++) {
        vectors.of[group][half] = *place(taken_, group, half);
      }
    }
    taken_++;
    return vectors;
  }

 private:
  static __device__ __forceinline__ uint4* place(unsigned step, int group, int half) {
    uint4* ring = reinterpret_cast<uint4*>(shared_memory());
    return ring + step % kStages * kStageVectors + (group * kHalves + half) * kThreads +
           threadIdx.x;
  }

  const T* weight_;
  int outputs_;
  int columns_;
  int last_output_;
  int tile_;  // first output of the tile that is fetched
  int step_ = 0;  // first column of the block's step that is fetched
  unsigned fetched_ = 0;
  unsigned taken_ = 0;
};

template <class T, class Out, bool kGated>
__device__ __forceinline__ void multiply(Out* out, int out_stride, const T* x, int x_stride,
                                         int x_in_shared, const T* weight, const float* bias,
                                         int apply_gelu, int rows, int outputs, int columns) {
  const OutputRange own = outputs_of_block(outputs);
  WeightStream<T, kGated> stream(weight, own, outputs, columns);
#pragma unroll
  for (int i = 0; i < kStages; i++) stream.fetch();
  prefetch(weight, own, {columns * static_cast<int>(sizeof(T)), outputs, kGated});

  pdl_wait();
  InputRows<T> input = {x, x_stride, rows, columns};
  if (x_in_shared) input = copy_to_shared(input, kInputOffset);

  float* partials = reinterpret_cast<float*>(shared_memory() + kRingBytes);
  int other_buffer = kPartialSums;
  for (int tile = own.first; tile < own.last; tile += kTileOutputs<kGated>) {
    TileSums<T> sums;
    for (int step = 0; step < columns; step += kBlockColumns<T>) {
      const StepVectors vectors = stream.take();
      sums.add(vectors, input, step + lane_column<T>());
      stream.fetch();
    }
    sums.store(partials + warp_index() * (kMaxRows * kTileRows), rows);
    __syncthreads();

    const int row = threadIdx.x / kTileOutputs<kGated>;
    const int tile_row = threadIdx.x % kTileOutputs<kGated>;
    const int output = tile + tile_row;
    if (row < rows && output < own.last) {
      float value = sum_of_warps(partials, row, tile_row);
      if (bias != nullptr) value += bias[output];
      if constexpr (kGated) {
        float factor = sum_of_warps(partials, row, kGroupRows + tile_row);
        if (bias != nullptr) factor += bias[outputs + output];
        value = silu(value) * factor;
      } else if (apply_gelu) {
        value = gelu_tanh(value);
      }
      out[static_cast<long long>(row) * out_stride + output] = from_f32<Out>(value);
    }
    // Whoever writes to a buffer again has passed the barrier of the other one, which these threads
    // reach when they are done here.
    partials += other_buffer;
    other_buffer = -other_buffer;
  }
}

}  // namespace weft_linear

// out[t][o] = sum over k of x[t][k] weight[o][k], + bias[o] if there is one, then GELU if `gelu`.
//
// gated: out[t][o] = silu(g) * u, where g and u are the products with rows o and outputs + o.
//
// `weight` has rows of `columns`, a multiple of 16 bytes, as x and the distance of its rows are.
// Grid: up to one block an output. Shared memory: kInputOffset bytes, and x if `x_in_shared`.
#define WEFT_LINEAR_KERNELS(suffix, T, Out)                                                       \
  extern "C" __global__ void __launch_bounds__(weft_linear::kThreads)                             \
      skinny_linear_##suffix(Out* out, int out_stride, const T* x, int x_stride, int x_in_shared, \
                             const T* weight, const float* bias, int gelu, int rows, int outputs, \
                             int columns) {                                                       \
    weft_linear::multiply<T, Out, false>(out, out_stride, x, x_stride, x_in_shared, weight, bias, \
                                         gelu, rows, outputs, columns);                           \
  }                                                                                               \
  extern "C" __global__ void __launch_bounds__(weft_linear::kThreads)                             \
      skinny_gated_linear_##suffix(Out* out, int out_stride, const T* x, int x_stride,            \
                                   int x_in_shared, const T* weight, const float* bias, int rows, \
                                   int outputs, int columns) {                                    \
    weft_linear::multiply<T, Out, true>(out, out_stride, x, x_stride, x_in_shared, weight, bias,  \
                                        0, rows, outputs, columns);                               \
  }

WEFT_LINEAR_KERNELS(f32_f32, float, float)
WEFT_LINEAR_KERNELS(bf16_bf16, bf16, bf16)
WEFT_LINEAR_KERNELS(bf16_f32, bf16, float)
WEFT_LINEAR_KERNELS(f16_f16, f16, f16)
WEFT_LINEAR_KERNELS(f16_f32, f16, float)

#undef WEFT_LINEAR_KERNELS
