// Sums over a warp or a block and maxima over a warp; every thread receives the result. The order
// of additions depends on the number of threads only, so equal inputs give equal bits. Blocks have
// one dimension.
#ifndef WEFT_REDUCE_CUH
#define WEFT_REDUCE_CUH

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) {
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  }
  return value;
}

// `scratch` has a float for each warp of the largest block: 32. It may be used again, or by another
// reduction, without a barrier in between: the first one here keeps this reduction's writes behind
// the reads of the one before.
__device__ __forceinline__ float block_sum(float value, float* scratch) {
  value = warp_sum(value);
  const int warps = blockDim.x / 32;
  const int lane = threadIdx.x % 32;
  __syncthreads();
  if (lane == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_sum(lane < warps ? scratch[lane] : 0.0f);
}

#endif  // WEFT_REDUCE_CUH
