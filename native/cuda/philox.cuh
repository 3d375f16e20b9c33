// Philox4x32-10, a counter-based generator: a block of four random words is a function of a 128-bit
// counter and a 64-bit key, so any word can be had without those before it.
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#ifndef WEFT_PHILOX_CUH
#define WEFT_PHILOX_CUH

__device__ __forceinline__ uint4 philox(uint4 counter, uint2 key) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned high0 = __umulhi(0xd2511f53u, counter.x), low0 = 0xd2511f53u * counter.x;
    const unsigned high2 = __umulhi(0xcd9e8d57u, counter.z), low2 = 0xcd9e8d57u * counter.z;
    counter = {high2 ^ counter.y ^ key.x, low2, high0 ^ counter.w ^ key.y, low0};
    key.x += 0x9e3779b9u;
    key.y += 0xbb67ae85u;
  }
  return counter;
}

#endif  // WEFT_PHILOX_CUH
