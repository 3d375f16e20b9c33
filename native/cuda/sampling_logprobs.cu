// Log-sum-exps, single logits by id, and the largest logits of each row.
#include "sampling.cuh"

namespace weft_sampling {

// A block takes the best of as many candidates; its warps take the best of their shares first.
constexpr int kTopsPerLane = 8;
constexpr int kTopsPerWarp = kTopsPerLane * kWarp;
constexpr int kTopsPerBlock = kTopsPerWarp * kWarps;

// Calls `take(place, candidate)` for the k best that the lanes of a warp hold, in order.
template <class Take>
__device__ __forceinline__ void warp_tops(Candidate (&held)[kTopsPerLane], int k, Take take) {
  const int lane = threadIdx.x % kWarp;
  Candidate own = nothing<Candidate>();
#pragma unroll
  for (int i = 0; i < kTopsPerLane; i++) own = merge(own, held[i]);
  for (int place = 0; place < k; place++) {
    const Candidate best = warp_merge(own);
    if (lane == place % kWarp) take(place, best);
    if (own.id != best.id) continue;
    // Ids are different, so this lane alone had it.
    own = nothing<Candidate>();
#pragma unroll
    for (int i = 0; i < kTopsPerLane; i++) {
      if (held[i].id == best.id) held[i] = nothing<Candidate>();
      own = merge(own, held[i]);
    }
  }
}

}  // namespace weft_sampling

// stats [rows]: maximum and sum of exp(x - maximum). Grid: [rows, parts], each part kPartWidth columns;
// parts are merged in one order. Shared memory: a MergeScratch.
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_log_sum_exp(
    weft_sampling::LogSum* stats, const float* logits, int stride, int size,
    weft_sampling::LogSum* partials, unsigned* tickets) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  Logits part;
  load_logits(row_of(logits, blockIdx.x, stride), blockIdx.y * kPartWidth, size, part);
  LogSum own = nothing<LogSum>();
#pragma unroll
  for (int i = 0; i < kGroups * kGroup; i++) {
    own.maximum = fmaxf(own.maximum, part[i / kGroup][i % kGroup]);
  }
  if (own.maximum != minus_infinity()) {
#pragma unroll
    for (int i = 0; i < kGroups * kGroup; i++) {
      own.sum += expf(part[i / kGroup][i % kGroup] - own.maximum);
    }
  }
  LogSum result;
  if (merge_row(own, partials, tickets, result)) stats[blockIdx.x] = result;
}

// stats [rows]: the merged results of `parts` ranks, gathered [parts][rows].
extern "C" __global__ void sampling_merge_log_sum_exp(weft_sampling::LogSum* stats,
                                                      const weft_sampling::LogSum* gathered,
                                                      int rows, int parts) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  LogSum sum = gathered[row];
  for (long long part = 1; part < parts; part++) sum = merge(sum, gathered[part * rows + row]);
  stats[row] = sum;
}

// values[t] = logits[t, ids[t] - first_id], or -infinity where the id is not among the row's `size`.
extern "C" __global__ void sampling_gather_logits(float* values, const float* logits, int stride,
                                                  const int* ids, int rows, int size,
                                                  int first_id) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const long long column = static_cast<long long>(ids[row]) - first_id;
  const bool inside = column >= 0 && column < size;
  values[row] = inside ? row_of(logits, row, stride)[column] : minus_infinity();
}

// values and ids [rows][parts][k]: the k best of each part's kTopsPerBlock entries of x, descending,
// ties to the lower id; k is at most kTopsPerWarp / kWarps, so that one warp can take what all warps
// found. Entry i of x has the id x_ids[i], which has the rows of x, or first_id + i where x_ids is null.
// Grid: [rows, parts]. Shared memory: kWarps * k Candidates.
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_top_k(
    float* values, int* ids, const float* x, const int* x_ids, int stride, int size, int k,
    int first_id) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  Candidate* found = reinterpret_cast<Candidate*>(shared_memory());
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const float* row_x = row_of(x, blockIdx.x, stride);
  const int* row_ids = x_ids == nullptr ? nullptr : row_of(x_ids, blockIdx.x, stride);

  Candidate held[kTopsPerLane];
#pragma unroll
  for (int i = 0; i < kTopsPerLane; i++) {
    const int column = blockIdx.y * kTopsPerBlock + warp * kTopsPerWarp + i * kWarp + lane;
    if (column >= size) {
      held[i] = nothing<Candidate>();
    } else {
      const int id = row_ids == nullptr ? first_id + column : row_ids[column];
      held[i] = {fmaxf(row_x[column], minus_infinity()), id};
    }
  }
  warp_tops(held, k, [&](int place, Candidate best) { found[warp * k + place] = best; });
  __syncthreads();
  if (warp > 0) return;
#pragma unroll
  for (int i = 0; i < kTopsPerLane; i++) {
    const int place = i * kWarp + lane;
    held[i] = place < kWarps * k ? found[place] : nothing<Candidate>();
  }
  const long long first = (static_cast<long long>(blockIdx.x) * gridDim.y + blockIdx.y) * k;
  warp_tops(held, k, [&](int place, Candidate best) {
    values[first + place] = best.value;
    ids[first + place] = best.id;
  });
}
