// Parts of rows: N elements at once where they are whole and aligned, one by one where a row ends or
// begins at an odd address. Rows of any size, at any stride, take the same path.
#ifndef WEFT_ROWS_CUH
#define WEFT_ROWS_CUH

#include "numbers.cuh"

// Whether all N elements at `address` lie in the row (`count` do) and can be accessed at once.
template <int N, class T>
__device__ __forceinline__ bool is_whole_part(const T* address, int count) {
  constexpr int kBytes = N * sizeof(T);
  static_assert(kBytes == 8 || kBytes == 16, "accesses take 8 or 16 bytes");
  return count >= N && reinterpret_cast<unsigned long long>(address) % kBytes == 0;
}

// Reads up to N elements, zeros beyond the first `count`, which may be negative.
template <int N, class T>
__device__ __forceinline__ void load_part(const T* address, int count, float (&values)[N]) {
  if (is_whole_part<N>(address, count)) {
    if constexpr (N * sizeof(T) == 16) {
      load16(address, values);
    } else {
      const uint2 bits = *reinterpret_cast<const uint2*>(address);
      float pairs[2][2];
      unpack2<T>(bits.x, pairs[0]);
      unpack2<T>(bits.y, pairs[1]);
#pragma unroll
      for (int i = 0; i < 4; i++) values[i] = pairs[i / 2][i % 2];
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) values[i] = i < count ? to_f32(address[i]) : 0.0f;
  }
}

// Writes up to N elements: the first `count`, which may be negative.
template <int N, class T>
__device__ __forceinline__ void store_part(T* address, int count, const float (&values)[N]) {
  if (is_whole_part<N>(address, count)) {
    if constexpr (N * sizeof(T) == 16) {
      store16(address, values);
    } else {
      *reinterpret_cast<uint2*>(address) = {pack2<T>(values[0], values[1]),
                                            pack2<T>(values[2], values[3])};
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) {
      if (i < count) address[i] = from_f32<T>(values[i]);
    }
  }
}

// The start of row `row`: strides are counted in elements.
template <class T>
__device__ __forceinline__ T* row_of(T* matrix, int row, int stride) {
  return matrix + static_cast<long long>(row) * stride;
}

#endif  // WEFT_ROWS_CUH
