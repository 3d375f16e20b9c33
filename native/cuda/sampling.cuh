// What the sampling kernels share: logits in order, and results of a row that several blocks share.
// A NaN counts as -infinity everywhere.
#ifndef WEFT_SAMPLING_CUH
#define WEFT_SAMPLING_CUH

#include "numbers.cuh"
#include "ptx.cuh"
#include "rows.cuh"

namespace weft_sampling {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kGroup = 4;   // logits that a thread takes at once: 16 bytes
constexpr int kGroups = 4;  // of a thread: all are read before any is used
constexpr int kPartWidth = kThreads * kGroup * kGroups;  // columns of a block

// This thread's share of kPartWidth columns: neighbouring threads have neighbouring groups.
typedef float Logits[kGroups][kGroup];

// First column of a group of this thread, `begin` being that of the part.
__device__ __forceinline__ int column_of(int begin, int group) {
  return begin + (group * kThreads + static_cast<int>(threadIdx.x)) * kGroup;
}

// The logits from column `begin` on, -infinity where the row has none; `begin` may be negative.
__device__ __forceinline__ void load_logits(const float* row, int begin, int size,
                                            Logits& logits) {
  const int first = column_of(begin, 0);
  const bool inside = first >= 0 && column_of(begin, kGroups - 1) + kGroup <= size;
  if (inside && reinterpret_cast<unsigned long long>(row + first) % 16 == 0) {
#pragma unroll
    for (int g = 0; g < kGroups; g++) load16(row + column_of(begin, g), logits[g]);
  } else {
#pragma unroll
    for (int i = 0; i < kGroups * kGroup; i++) {
      const int column = column_of(begin, i / kGroup) + i % kGroup;
      logits[i / kGroup][i % kGroup] =
          column >= 0 && column < size ? row[column] : minus_infinity();
    }
  }
#pragma unroll
  for (int i = 0; i < kGroups * kGroup; i++) {
    logits[i / kGroup][i % kGroup] = fmaxf(logits[i / kGroup][i % kGroup], minus_infinity());
  }
}

// A token and what speaks for it; that of kNobody loses to every other.
struct Candidate {
  float value;
  int id;
};
constexpr int kNobody = 0x7fffffff;

// The larger value, of equals the lower id.
__device__ __forceinline__ Candidate merge(Candidate a, Candidate b) {
  return b.value > a.value || (b.value == a.value && b.id < a.id) ? b : a;
}
__device__ __forceinline__ Candidate exchange(Candidate own, int distance) {
  return {__shfl_xor_sync(kAllLanes, own.value, distance),
          __shfl_xor_sync(kAllLanes, own.id, distance)};
}

// sum = sum of exp(x - maximum); 0 where every x is -infinity.
struct LogSum {
  float maximum;
  float sum;
};

__device__ __forceinline__ LogSum merge(LogSum a, LogSum b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  if (maximum == minus_infinity()) return {maximum, 0.0f};
  return {maximum, a.sum * expf(a.maximum - maximum) + b.sum * expf(b.maximum - maximum)};
}
__device__ __forceinline__ LogSum exchange(LogSum own, int distance) {
  return {__shfl_xor_sync(kAllLanes, own.maximum, distance),
          __shfl_xor_sync(kAllLanes, own.sum, distance)};
}

template <class T>
__device__ __forceinline__ T nothing();
template <>
__device__ __forceinline__ Candidate nothing<Candidate>() {
  return {minus_infinity(), kNobody};
}
template <>
__device__ __forceinline__ LogSum nothing<LogSum>() {
  return {minus_infinity(), 0.0f};
}

template <class T>
__device__ __forceinline__ T warp_merge(T own) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    own = merge(own, exchange(own, distance));
  }
  return own;
}

// Merges what the threads of a block of kThreads have; the first warp gets the result. `scratch`
// holds one T a warp.
template <class T>
__device__ __forceinline__ T block_merge(T own, T* scratch) {
  own = warp_merge(own);
  __syncthreads();
  if (threadIdx.x % kWarp == 0) scratch[threadIdx.x / kWarp] = own;
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  return warp_merge(lane < kWarps ? scratch[lane] : nothing<T>());
}

// Whether this block is the last of `count` to call with `ticket`, which is 0 before and after. The
// last one sees what the others had written. `flag` is shared memory.
__device__ __forceinline__ bool is_last_block(unsigned* ticket, unsigned count, unsigned* flag) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    *flag = atomicAdd(ticket, 1u) == count - 1;
    if (*flag) *ticket = 0;
    __threadfence();
  }
  __syncthreads();
  return *flag;
}

// Shared memory of merge_row.
template <class T>
struct MergeScratch {
  T warps[kWarps];
  unsigned flag;
};

// Merges what all threads of all blocks [row = blockIdx.x, part = blockIdx.y] of a row have. True in
// one thread a row, which gets the result. `partials` [rows][parts], `tickets` [rows].
template <class T>
__device__ __forceinline__ bool merge_row(T own, T* partials, unsigned* tickets, T& result) {
  MergeScratch<T>* scratch = reinterpret_cast<MergeScratch<T>*>(shared_memory());
  result = block_merge(own, scratch->warps);
  const int parts = gridDim.y;
  if (parts > 1) {
    T* row = partials + static_cast<long long>(blockIdx.x) * parts;
    if (threadIdx.x == 0) row[blockIdx.y] = result;
    if (!is_last_block(tickets + blockIdx.x, parts, &scratch->flag)) return false;
    own = nothing<T>();
    for (int part = threadIdx.x; part < parts; part += kThreads) own = merge(own, row[part]);
    result = block_merge(own, scratch->warps);
  }
  return threadIdx.x == 0;
}

}  // namespace weft_sampling

#endif  // WEFT_SAMPLING_CUH
