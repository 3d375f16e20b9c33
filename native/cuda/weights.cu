// Weights on their way into the device's format, rows of an embedding, and what follows a product
// of many rows.
#include "activations.cuh"
#include "ptx.cuh"
#include "rows.cuh"

namespace weft_weights {

// Column of this thread, in a grid of [rows, parts of a row].
__device__ __forceinline__ int column_of_thread() { return blockIdx.y * blockDim.x + threadIdx.x; }

template <class From, class To>
__device__ __forceinline__ void convert(To* out, int out_stride, const From* in, int row_stride,
                                        int column_stride, int columns, int padded_columns) {
  pdl_launch_dependents();
  pdl_wait();
  const int column = column_of_thread();
  if (column >= padded_columns) return;
  const long long source = static_cast<long long>(blockIdx.x) * row_stride +
                           static_cast<long long>(column) * column_stride;
  const float value = column < columns ? to_f32(in[source]) : 0.0f;
  row_of(out, blockIdx.x, out_stride)[column] = from_f32<To>(value);
}

template <class T>
__device__ __forceinline__ void embedding(float* out, int out_stride, const int* ids,
                                          const T* table, int table_stride, int table_rows,
                                          int first_id, int size) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  pdl_wait();
  const int column = column_of_thread() * N;
  const long long row = static_cast<long long>(ids[blockIdx.x]) - first_id;
  float values[N] = {};
  if (row >= 0 && row < table_rows) {
    load_part<N>(table + row * table_stride + column, size - column, values);
  }
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, size - column, values);
}

template <class Out>
__device__ __forceinline__ void finish_linear(Out* out, int out_stride, const float* sums,
                                              int sums_stride, int parts, const float* bias,
                                              int apply_gelu, int size) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  const int column = column_of_thread() * N;
  const int count = size - column;
  float biases[N] = {};
  if (bias != nullptr) load_part<N>(bias + column, count, biases);
  pdl_wait();
  float values[N];
  load_part<N>(row_of(sums, blockIdx.x, sums_stride) + column, count, values);
  for (int part = 1; part < parts; part++) {
    float more[N];
    const int row = part * gridDim.x + blockIdx.x;
    load_part<N>(row_of(sums, row, sums_stride) + column, count, more);
#pragma unroll
    for (int i = 0; i < N; i++) values[i] += more[i];
  }
#pragma unroll
  for (int i = 0; i < N; i++) {
    values[i] += biases[i];
    if (apply_gelu) values[i] = gelu_tanh(values[i]);
  }
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, count, values);
}

}  // namespace weft_weights

// out[r][c] = in[r * row_stride + c * column_stride] for c below `columns`, zeros from there to
// `padded_columns`. A thread has one element.
#define WEFT_CONVERT_KERNEL(from, From, to, To)                                                  \
  extern "C" __global__ void convert_##from##_##to(To* out, int out_stride, const From* in,      \
                                                   int row_stride, int column_stride,            \
                                                   int columns, int padded_columns) {            \
    weft_weights::convert(out, out_stride, in, row_stride, column_stride, columns,               \
                          padded_columns);                                                       \
  }

// embedding: out[t] = table[ids[t] - first_id], zeros where the table has no such row.
//
// finish_linear: out[t][i] = sums[t][i], + bias[i] if there is one, then GELU if `gelu`; out may be
// sums. `parts` of sums, each with as many rows as the grid, lie behind each other and are added in
// order. Both: a thread has four elements.
#define WEFT_WEIGHT_KERNELS(suffix, T)                                                           \
  WEFT_CONVERT_KERNEL(suffix, T, f32, float)                                                     \
  WEFT_CONVERT_KERNEL(suffix, T, bf16, bf16)                                                     \
  WEFT_CONVERT_KERNEL(suffix, T, f16, f16)                                                       \
  extern "C" __global__ void embedding_##suffix(float* out, int out_stride, const int* ids,      \
                                                const T* table, int table_stride,                \
                                                int table_rows, int first_id, int size) {        \
    weft_weights::embedding(out, out_stride, ids, table, table_stride, table_rows, first_id,     \
                            size);                                                               \
  }                                                                                              \
  extern "C" __global__ void finish_linear_##suffix(T* out, int out_stride, const float* sums,   \
                                                    int sums_stride, int parts,                  \
                                                    const float* bias, int gelu, int size) {     \
    weft_weights::finish_linear(out, out_stride, sums, sums_stride, parts, bias, gelu, size);    \
  }

WEFT_WEIGHT_KERNELS(f32, float)
WEFT_WEIGHT_KERNELS(bf16, bf16)
WEFT_WEIGHT_KERNELS(f16, f16)

#undef WEFT_WEIGHT_KERNELS
#undef WEFT_CONVERT_KERNEL
