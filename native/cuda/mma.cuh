// The tensor cores' product by type; the fragments are described in ptx.cuh.
#ifndef WEFT_MMA_CUH
#define WEFT_MMA_CUH

#include "numbers.cuh"

// d += a * b, whole warps only.
template <class T>
__device__ __forceinline__ void mma_16816(float (&d)[4], const unsigned (&a)[4],
                                          const unsigned (&b)[2]);
template <>
__device__ __forceinline__ void mma_16816<bf16>(float (&d)[4], const unsigned (&a)[4],
                                                const unsigned (&b)[2]) {
  mma_bf16_16816(d, a, b);
}
template <>
__device__ __forceinline__ void mma_16816<f16>(float (&d)[4], const unsigned (&a)[4],
                                               const unsigned (&b)[2]) {
  mma_f16_16816(d, a, b);
}

#endif  // WEFT_MMA_CUH
