// The logits at which min-p, top-k and top-p cut. The search for the latter two settles 8 bits of the
// threshold's ordered key a round, from histograms of integers that may be sums over ranks
// (NUMERICS.md 9): they are exact in any order, in f64 too.
#include "sampling.cuh"

namespace weft_sampling {

enum Kind { kCount = 1, kMass = 2 };
constexpr int kBins = 256;
constexpr int kLastRound = 3;
constexpr int kBinsPerLane = kBins / kWarp;

// Masses are added in two parts, of kLowBits and the bits above, so that 32 bits hold the sums of
// 2^16 of them: what a warp gets of 2^19 logits.
constexpr int kLowBits = 15;

// Each warp has counters of its own, so that equal bins wait less for one another.
struct WarpHistogram {
  unsigned low[kBins];
  unsigned high[kBins];
};

// Unsigned integers in the order of the floats that they stand for, and back.
__device__ __forceinline__ unsigned ordered_key(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits ^ (static_cast<unsigned>(static_cast<int>(bits) >> 31) | 0x80000000u);
}
__device__ __forceinline__ float from_ordered_key(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key);
}

// floor(exp((x - maximum) / temperature) * 2^30), at most 2^30; 0 where that is no number.
__device__ __forceinline__ unsigned mass_of(float x, float maximum, float temperature) {
  constexpr float kOne = 1073741824.0f;
  const float mass = expf((x - maximum) / temperature) * kOne;
  return static_cast<unsigned>(fminf(fmaxf(mass, 0.0f), kOne));
}

}  // namespace weft_sampling

// thresholds[t] = the row's maximum + offsets[t]. An offset of -infinity lets all in.
extern "C" __global__ void sampling_min_p_thresholds(float* thresholds, const float* stats,
                                                     const double* offsets, int rows) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  const double offset = offsets[row];
  const bool all = offset == static_cast<double>(minus_infinity());
  thresholds[row] = all ? minus_infinity() : static_cast<float>(stats[2 * row] + offset);
}

// histogram [rows][256]: counts (kind 1) or masses (kind 2) of the logits that are at least
// thresholds[t] and whose ordered key agrees with prefixes[t] in its top 8 * round bits, by the next 8
// bits; zeros where the row's share is 0. -0 counts as 0. Grid: [rows, parts], each part `width`
// columns, a multiple of kPartWidth and at most 2^19. Shared memory: kWarps WarpHistograms and a flag.
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_histogram(
    double* histogram, const float* logits, int stride, int size, int round, int kind,
    const double* shares, const unsigned* prefixes, const float* thresholds, const float* stats,
    const float* temperatures, int width, double* partials, unsigned* tickets) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  WarpHistogram* warps = reinterpret_cast<WarpHistogram*>(shared_memory());
  unsigned* flag = reinterpret_cast<unsigned*>(warps + kWarps);
  for (int i = threadIdx.x; i < kWarps * kBins; i += kThreads) {
    warps[i / kBins].low[i % kBins] = 0;
    warps[i / kBins].high[i % kBins] = 0;
  }
  __syncthreads();
  pdl_wait();

  static_assert(kThreads == kBins, "each thread sums a bin");
  const int row = blockIdx.x;
  const int bin = threadIdx.x;
  double* result = histogram + static_cast<long long>(row) * kBins;
  if (shares[row] == 0.0) {
    if (blockIdx.y == 0) result[bin] = 0.0;
    return;
  }

  WarpHistogram& own = warps[threadIdx.x / kWarp];
  const int shift = 24 - 8 * round;
  const unsigned prefix = round == 0 ? 0 : prefixes[row] >> (shift + 8);
  const float threshold = thresholds[row];
  const float maximum = stats[2 * row];
  const float temperature = temperatures[row];
  const float* row_logits = row_of(logits, row, stride);
  const int begin = blockIdx.y * width;
  const int end = min(begin + width, size);
  for (int first = begin; first < end; first += kPartWidth) {
    Logits some;
    load_logits(row_logits, first, size, some);
#pragma unroll
    for (int i = 0; i < kGroups * kGroup; i++) {
      const float logit = some[i / kGroup][i % kGroup];
      const float x = logit == 0.0f ? 0.0f : logit;
      const unsigned key = ordered_key(x);
      const bool agrees = round == 0 || key >> (shift + 8) == prefix;
      const bool exists = column_of(first, i / kGroup) + i % kGroup < size;
      if (!exists || !agrees || !(x >= threshold)) continue;
      const unsigned amount = kind == kMass ? mass_of(x, maximum, temperature) : 1;
      if (amount == 0) continue;
      const unsigned place = key >> shift & (kBins - 1);
      atomicAdd(&own.low[place], amount & ((1u << kLowBits) - 1));
      if (amount >> kLowBits) atomicAdd(&own.high[place], amount >> kLowBits);
    }
  }
  __syncthreads();

  unsigned long long sum = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; warp++) {
    sum += warps[warp].low[bin];
    sum += static_cast<unsigned long long>(warps[warp].high[bin]) << kLowBits;
  }
  const int parts = gridDim.y;
  if (parts == 1) {
    result[bin] = static_cast<double>(sum);
    return;
  }
  double* of_row = partials + static_cast<long long>(row) * parts * kBins;
  of_row[blockIdx.y * kBins + bin] = static_cast<double>(sum);
  if (!is_last_block(tickets + row, parts, flag)) return;
  double total = 0.0;
  for (int part = 0; part < parts; part++) total += of_row[part * kBins + bin];
  result[bin] = total;
}

// Opens, in each row with a share, the bin of histogram [rows][256] in which the target is reached,
// counted from the top; the last bin, 0, when it is not. One warp a row, each lane 8 bins.
extern "C" __global__ void sampling_narrow_thresholds(float* thresholds, const double* histogram,
                                                      int round, int kind, const double* shares,
                                                      unsigned* prefixes, double* targets,
                                                      double* above) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x;
  const int lane = threadIdx.x;
  const double share = shares[row];
  if (share == 0.0) return;

  const double* bins = histogram + static_cast<long long>(row) * kBins + lane * kBinsPerLane;
  double counts[kBinsPerLane];
  double own = 0.0;
#pragma unroll
  for (int i = 0; i < kBinsPerLane; i++) own += counts[i] = bins[i];
  double up_to_here = own;  // of this lane and those with higher bins
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const double others = __shfl_down_sync(kAllLanes, up_to_here, distance);
    if (lane + distance < kWarp) up_to_here += others;
  }
  const double total = __shfl_sync(kAllLanes, up_to_here, 0);

  double target;
  double reached = up_to_here - own;
  if (round == 0) {
    // Asking for more tokens than take part keeps them all.
    target = kind == kCount ? (share < total ? share : total) : share * total;
  } else {
    target = targets[row];
    reached += above[row];
  }
  int bin = kBinsPerLane - 1;
  while (bin >= 0 && reached + counts[bin] < target) reached += counts[bin--];
  const unsigned lanes = __ballot_sync(kAllLanes, bin >= 0);
  const bool none = lanes == 0;
  const int winner = none ? 0 : kWarp - 1 - __clz(lanes);
  if (lane != winner) return;
  if (none) {
    bin = 0;
    reached -= counts[0];
  }
  const unsigned opened = static_cast<unsigned>(lane * kBinsPerLane + bin) << (24 - 8 * round);
  const unsigned prefix = round == 0 ? opened : prefixes[row] | opened;
  prefixes[row] = prefix;
  above[row] = reached;
  if (round == 0) targets[row] = target;
  if (round < kLastRound) return;
  const float cut = from_ordered_key(prefix);
  if (cut > thresholds[row]) thresholds[row] = cut;
}
