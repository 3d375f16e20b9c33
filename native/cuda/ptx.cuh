// All inline PTX of weft, and everything else that tests/cuda_emulator twins
// (tests/cuda_emulator/include/ptx.cuh): what is added here is added there.
//
// Fragments of a warp-wide m16n8k16 product, for lane l with g = l / 4 and t = l % 4, two 16-bit
// elements a register, the lower index in the low half:
//   a[0] = A[g][2t..]   a[1] = A[g+8][2t..]   a[2] = A[g][2t+8..]   a[3] = A[g+8][2t+8..]   (16 x 16)
//   b[0] = B[2t..][g]   b[1] = B[2t+8..][g]                                                 (16 x 8)
//   d[0], d[1] = D[g][2t], D[g][2t+1]         d[2], d[3] = D[g+8][2t], D[g+8][2t+1]         (16 x 8)
#ifndef WEFT_PTX_CUH
#define WEFT_PTX_CUH

// ---- Launch --------------------------------------------------------------------------------------

// The block's dynamic shared memory, aligned to 128 bytes.
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ __align__(128) unsigned char weft_shared_memory[];
  return weft_shared_memory;
}

// Waits until the kernels before this one in the stream have ended and their writes can be seen.
// Before it nothing may be written, and nothing read but what no kernel writes: weights, and what the
// host uploads for a step (copies are not overtaken). Every thread calls it.
__device__ __forceinline__ void pdl_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Lets the next kernel in the stream start as soon as every block has called this or ended.
__device__ __forceinline__ void pdl_launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- Numbers -------------------------------------------------------------------------------------

// The value of a bfloat16, given by its bits.
__device__ __forceinline__ float bf16_to_f32(unsigned short bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

// The bits of the nearest bfloat16, ties to even.
__device__ __forceinline__ unsigned short f32_to_bf16(float value) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// Two bfloat16 in one register, `low` in the low half.
__device__ __forceinline__ unsigned f32x2_to_bf16x2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

// The value of a half, given by its bits.
__device__ __forceinline__ float f16_to_f32(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

// The bits of the nearest half, ties to even; beyond 65504 it is an infinity.
__device__ __forceinline__ unsigned short f32_to_f16(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

// Two halves in one register, `low` in the low half.
__device__ __forceinline__ unsigned f32x2_to_f16x2(float low, float high) {
  unsigned bits;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(bits) : "f"(high), "f"(low));
  return bits;
}

// a * b + c of each half, two bfloat16 a register, rounded once.
__device__ __forceinline__ unsigned fma_bf16x2(unsigned a, unsigned b, unsigned c) {
  unsigned bits;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(bits) : "r"(a), "r"(b), "r"(c));
  return bits;
}

// a + b of each half, two halves a register, rounded once.
__device__ __forceinline__ unsigned add_f16x2(unsigned a, unsigned b) {
  unsigned bits;
  asm("add.rn.f16x2 %0, %1, %2;" : "=r"(bits) : "r"(a), "r"(b));
  return bits;
}

// 2^value to 2 ulp, subnormal results as zero.
__device__ __forceinline__ float fast_exp2(float value) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(value));
  return power;
}

// ---- Memory --------------------------------------------------------------------------------------

// Asks for `bytes` (a multiple of 16, from an address aligned to 16) to be brought into the
// second-level cache. A hint: GPUs before sm_90 do nothing.
__device__ __forceinline__ void prefetch_l2(const void* address, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(address), "r"(bytes) : "memory");
#endif
}

// The 32-bit address that PTX instructions on shared memory take.
__device__ __forceinline__ unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Starts to copy 16 bytes, both sides aligned to 16, or to write 16 zero bytes, without reading
// `global`, when it is out of range. They are there for this thread after cp_async_wait, for the
// others after a __syncthreads() that follows it.
__device__ __forceinline__ void cp_async16_or_zero(void* shared, const void* global,
                                                   bool in_range) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(
                   shared_address(shared)),
               "l"(global), "r"(in_range ? 16 : 0)
               : "memory");
}

// The same for 4 bytes, both sides aligned to 4.
__device__ __forceinline__ void cp_async4_or_zero(void* shared, const void* global, bool in_range) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)),
               "l"(global), "r"(in_range ? 4 : 0)
               : "memory");
}

// Closes the group of the copies that this thread has started since the last one.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits until at most the N newest groups of this thread are under way.
template <int N>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// ---- Tensor cores: whole warps only --------------------------------------------------------------

// Loads four 8x8 matrices of 16-bit elements. Lane l gives the address of row l % 8 (16 aligned
// bytes) of matrix l / 8; lane l receives in r[i] elements 2(l % 4), 2(l % 4) + 1 of row l / 4 of
// matrix i.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

// The same, but lane l receives of each matrix rows 2(l % 4), 2(l % 4) + 1 of column l / 4.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}

// d += a * b with bfloat16 factors and f32 sums; the fragments are described at the top.
__device__ __forceinline__ void mma_bf16_16816(float (&d)[4], const unsigned (&a)[4],
                                               const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a * b with half factors and f32 sums; the fragments are described at the top.
__device__ __forceinline__ void mma_f16_16816(float (&d)[4], const unsigned (&a)[4],
                                              const unsigned (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif  // WEFT_PTX_CUH
