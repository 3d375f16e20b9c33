// Where a product goes: rows of f32 or of T, which the host decides. It is written once, so that a kernel
// for each would gain nothing.
#ifndef WEFT_RESULT_CUH
#define WEFT_RESULT_CUH

#include "numbers.cuh"

template <class T>
struct Result {
  void* out;
  int stride;
  bool is_f32;

  __device__ __forceinline__ void store(int row, int column, float value) const {
    const long long index = static_cast<long long>(row) * stride + column;
    if (is_f32) {
      static_cast<float*>(out)[index] = value;
    } else {
      static_cast<T*>(out)[index] = from_f32<T>(value);
    }
  }
};

#endif  // WEFT_RESULT_CUH
