// RMSNorm and LayerNorm, with the residual addition before them. A block takes a row and keeps it in
// registers: at batch 1 a norm is latency only, so memory is read once, and the weight before the
// wait for the kernel ahead.
#include "ptx.cuh"
#include "reduce.cuh"
#include "rows.cuh"

namespace weft_norm {

constexpr int kPart = 4;        // elements of an access: 16 bytes of f32
constexpr int kParts = 4;       // of a thread
constexpr int kThreads = 1024;  // of a block at most: rows have up to kThreads * kParts * kPart elements

typedef float Row[kParts][kPart];  // this thread's parts of a row, zero beyond its end

// Where the thread's part begins. Neighbouring threads have neighbouring parts.
__device__ __forceinline__ int column_of(int part) {
  return (part * blockDim.x + threadIdx.x) * kPart;
}

template <class T>
__device__ __forceinline__ void load_row(const T* row, int size, Row& values) {
#pragma unroll
  for (int p = 0; p < kParts; p++) {
    const int column = column_of(p);
    load_part<kPart>(row + column, size - column, values[p]);
  }
}

template <class T>
__device__ __forceinline__ void store_row(T* row, int size, const Row& values) {
#pragma unroll
  for (int p = 0; p < kParts; p++) {
    const int column = column_of(p);
    store_part<kPart>(row + column, size - column, values[p]);
  }
}

// What is normalised: x, or the residual after x was added to it, which is written back.
__device__ __forceinline__ void load_input(const float* x, float* residual, int size,
                                           Row& values) {
  load_row(x, size, values);
  if (residual == nullptr) return;
#pragma unroll
  for (int p = 0; p < kParts; p++) {
    const int column = column_of(p);
    float sums[kPart];
    load_part<kPart>(residual + column, size - column, sums);
#pragma unroll
    for (int i = 0; i < kPart; i++) values[p][i] += sums[i];
  }
  store_row(residual, size, values);
}

// The sum over the block of the squares of its values.
__device__ __forceinline__ float sum_of_squares(const Row& values) {
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kParts * kPart; i++) {
    const float value = values[i / kPart][i % kPart];
    squares = fmaf(value, value, squares);
  }
  return block_sum(squares, reinterpret_cast<float*>(shared_memory()));
}

template <class T>
__device__ __forceinline__ void rms_norm(T* out, int out_stride, const float* x, int x_stride,
                                         float* residual, int residual_stride,
                                         const float* weight, int size, float epsilon) {
  pdl_launch_dependents();
  Row weights;
  load_row(weight, size, weights);
  pdl_wait();
  const int row = blockIdx.x;
  Row values;
  load_input(row_of(x, row, x_stride),
             residual == nullptr ? nullptr : row_of(residual, row, residual_stride), size, values);
  const float scale = 1.0f / sqrtf(sum_of_squares(values) / size + epsilon);
#pragma unroll
  for (int i = 0; i < kParts * kPart; i++) {
    values[i / kPart][i % kPart] *= scale * weights[i / kPart][i % kPart];
  }
  store_row(row_of(out, row, out_stride), size, values);
}

template <class T>
__device__ __forceinline__ void layer_norm(T* out, int out_stride, const float* x, int x_stride,
                                           float* residual, int residual_stride,
                                           const float* weight, const float* bias, int size,
                                           float epsilon) {
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x;
  Row values;
  load_input(row_of(x, row, x_stride),
             residual == nullptr ? nullptr : row_of(residual, row, residual_stride), size, values);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kParts * kPart; i++) sum += values[i / kPart][i % kPart];
  const float mean = block_sum(sum, reinterpret_cast<float*>(shared_memory())) / size;
#pragma unroll
  for (int i = 0; i < kParts * kPart; i++) {
    // Elements beyond the end of the row stay zero, and out of the variance.
    if (column_of(i / kPart) + i % kPart < size) values[i / kPart][i % kPart] -= mean;
  }
  const float scale = 1.0f / sqrtf(sum_of_squares(values) / size + epsilon);
  T* target = row_of(out, row, out_stride);
#pragma unroll
  for (int p = 0; p < kParts; p++) {
    const int column = column_of(p);
    float weights[kPart];
    float biases[kPart];
    load_part<kPart>(weight + column, size - column, weights);
    load_part<kPart>(bias + column, size - column, biases);
#pragma unroll
    for (int i = 0; i < kPart; i++) {
      values[p][i] = fmaf(values[p][i] * scale, weights[i], biases[i]);
    }
    store_part<kPart>(target + column, size - column, values[p]);
  }
}

}  // namespace weft_norm

// One block a row; threads * 16 elements at most; shared memory: 32 floats, block_sum's. `residual`
// may be null; `out` may be x.
#define WEFT_NORM_KERNELS(suffix, T)                                                               \
  extern "C" __global__ void __launch_bounds__(weft_norm::kThreads) rms_norm_##suffix(             \
      T* out, int out_stride, const float* x, int x_stride, float* residual, int residual_stride,  \
      const float* weight, int size, float epsilon) {                                              \
    weft_norm::rms_norm(out, out_stride, x, x_stride, residual, residual_stride, weight, size,     \
                        epsilon);                                                                  \
  }                                                                                                \
  extern "C" __global__ void __launch_bounds__(weft_norm::kThreads) layer_norm_##suffix(           \
      T* out, int out_stride, const float* x, int x_stride, float* residual, int residual_stride,  \
      const float* weight, const float* bias, int size, float epsilon) {                           \
    weft_norm::layer_norm(out, out_stride, x, x_stride, residual, residual_stride, weight, bias,   \
                          size, epsilon);                                                          \
  }

WEFT_NORM_KERNELS(f32, float)
WEFT_NORM_KERNELS(bf16, bf16)
WEFT_NORM_KERNELS(f16, f16)

#undef WEFT_NORM_KERNELS
