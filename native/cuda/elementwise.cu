// Activations, sums and row copies: bound by memory alone. Kernels over matrices have a grid of
// [rows, parts of a row]; out may be x.
#include "activations.cuh"
#include "ptx.cuh"
#include "rows.cuh"

namespace weft_elementwise {

// First column of this thread's part of its row.
template <int N>
__device__ __forceinline__ int column_of_thread() {
  return (blockIdx.y * blockDim.x + threadIdx.x) * N;
}

template <class T>
__device__ __forceinline__ void silu_and_mul(T* out, int out_stride, const T* x, int x_stride,
                                             int size) {
  constexpr int N = kVectorSize<T>;
  pdl_launch_dependents();
  pdl_wait();
  const int column = column_of_thread<N>();
  const int count = size - column;
  const T* row = row_of(x, blockIdx.x, x_stride) + column;
  float gates[N];
  float values[N];
  load_part<N>(row, count, gates);
  load_part<N>(row + size, count, values);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] *= silu(gates[i]);
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, count, values);
}

template <class T>
__device__ __forceinline__ void gelu(T* out, int out_stride, const T* x, int x_stride, int size) {
  constexpr int N = kVectorSize<T>;
  pdl_launch_dependents();
  pdl_wait();
  const int column = column_of_thread<N>();
  const int count = size - column;
  float values[N];
  load_part<N>(row_of(x, blockIdx.x, x_stride) + column, count, values);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] = gelu_tanh(values[i]);
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, count, values);
}

}  // namespace weft_elementwise

#define WEFT_ELEMENTWISE_KERNELS(suffix, T)                                                  \
  extern "C" __global__ void silu_and_mul_##suffix(T* out, int out_stride, const T* x,       \
                                                   int x_stride, int size) {                 \
    weft_elementwise::silu_and_mul(out, out_stride, x, x_stride, size);                      \
  }                                                                                          \
  extern "C" __global__ void gelu_##suffix(T* out, int out_stride, const T* x, int x_stride, \
                                           int size) {                                       \
    weft_elementwise::gelu(out, out_stride, x, x_stride, size);                              \
  }

WEFT_ELEMENTWISE_KERNELS(f32, float)
WEFT_ELEMENTWISE_KERNELS(bf16, bf16)
WEFT_ELEMENTWISE_KERNELS(f16, f16)

#undef WEFT_ELEMENTWISE_KERNELS

// out[i] = a[i] + b[i] for i below `count`; out may be a or b. One dimension.
extern "C" __global__ void add_f32(float* out, const float* a, const float* b, int count) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  pdl_wait();
  const long long first = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (first >= count) return;
  const int left = count - static_cast<int>(first);
  float values[N];
  float others[N];
  load_part<N>(a + first, left, values);
  load_part<N>(b + first, left, others);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] += others[i];
  store_part<N>(out + first, left, values);
}

// x[row][i] += bias[i]
extern "C" __global__ void add_bias_f32(float* x, int x_stride, const float* bias, int size) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  const int column = weft_elementwise::column_of_thread<N>();
  const int count = size - column;
  float biases[N];
  load_part<N>(bias + column, count, biases);
  pdl_wait();
  float* row = row_of(x, blockIdx.x, x_stride) + column;
  float values[N];
  load_part<N>(row, count, values);
#pragma unroll
  for (int i = 0; i < N; i++) values[i] += biases[i];
  store_part<N>(row, count, values);
}

// out[row] = x[index[row]]; NaN where x has no such row, so that a wrong index is not taken for data.
extern "C" __global__ void gather_rows_f32(float* out, int out_stride, const float* x, int x_stride,
                                           int x_rows, const int* index, int size) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  pdl_wait();
  const int column = weft_elementwise::column_of_thread<N>();
  const int count = size - column;
  const int source = index[blockIdx.x];
  float values[N];
  if (source >= 0 && source < x_rows) {
    load_part<N>(row_of(x, source, x_stride) + column, count, values);
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) values[i] = __uint_as_float(0x7fc00000u);
  }
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, count, values);
}
