// Mixtures of experts: routing, sorting by expert, and the weighted sum in order of expert number
// (NUMERICS.md 7). Nothing here depends on the order in which threads run.
#include "numbers.cuh"
#include "ptx.cuh"
#include "reduce.cuh"
#include "rows.cuh"

namespace weft_experts {

constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kNobody = 0x7fffffff;

// An expert and its share of the softmax; an expert of kNobody loses to every other.
struct Candidate {
  float probability;
  int expert;
};

// The larger probability wins, the lower expert where neither is larger (equal, or not numbers).
__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  const bool take_b = b.probability > a.probability ||
                      (!(a.probability > b.probability) && b.expert < a.expert);
  return take_b ? b : a;
}

__device__ __forceinline__ Candidate warp_best(Candidate candidate) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance >>= 1) {
    const Candidate other = {__shfl_xor_sync(kAllLanes, candidate.probability, distance),
                             __shfl_xor_sync(kAllLanes, candidate.expert, distance)};
    candidate = better(candidate, other);
  }
  return candidate;
}

// How many lanes below this one have their bit set.
__device__ __forceinline__ int lanes_before(unsigned lanes) {
  return __popc(lanes & ((1u << threadIdx.x % kWarp) - 1));
}

// The expert of a pair. Routing writes valid ones only; any other counts as the nearest, so that
// `order` is a permutation whatever memory holds.
__device__ __forceinline__ int expert_of(const int* experts, int pair, int num_experts) {
  return min(max(experts[pair], 0), num_experts - 1);
}

}  // namespace weft_experts

// weights and experts [rows][top_k], by expert number: the top_k largest of softmax(logits), ties to
// the lower expert, divided by their sum when `normalize`. One warp a row; each needs num_experts
// floats of shared memory. Up to 1024 experts: lane l has experts l, l + 32, ...
extern "C" __global__ void route_experts(float* weights, int* experts, const float* logits,
                                         int stride, int rows, int num_experts, int top_k,
                                         int normalize) {
  using namespace weft_experts;
  pdl_launch_dependents();
  pdl_wait();
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int row = blockIdx.x * (blockDim.x / kWarp) + warp;
  if (row >= rows) return;  // all lanes of a warp have one row
  float* probabilities = reinterpret_cast<float*>(shared_memory()) + warp * num_experts;
  const float* row_logits = row_of(logits, row, stride);

  float largest = minus_infinity();
  for (int e = lane; e < num_experts; e += kWarp) largest = fmaxf(largest, row_logits[e]);
  largest = warp_max(largest);
  float total = 0.0f;
  for (int e = lane; e < num_experts; e += kWarp) {
    const float mass = expf(row_logits[e] - largest);
    probabilities[e] = mass;
    total += mass;
  }
  total = warp_sum(total);
  for (int e = lane; e < num_experts; e += kWarp) probabilities[e] /= total;

  unsigned chosen = 0;  // bit i: expert 32 i + lane
  float chosen_total = 0.0f;
  for (int choice = 0; choice < top_k; choice++) {
    Candidate best = {-1.0f, kNobody};
    for (int e = lane; e < num_experts; e += kWarp) {
      if (!(chosen >> e / kWarp & 1)) best = better(best, {probabilities[e], e});
    }
    best = warp_best(best);
    chosen_total += best.probability;
    if (best.expert % kWarp == lane) chosen |= 1u << best.expert / kWarp;
  }

  const float divisor = normalize ? chosen_total : 1.0f;
  int written = row * top_k;
  for (int first = 0; first < num_experts; first += kWarp) {
    const bool is_chosen = chosen >> first / kWarp & 1;
    const unsigned lanes = __ballot_sync(kAllLanes, is_chosen);
    if (is_chosen) {
      const int place = written + lanes_before(lanes);
      experts[place] = first + lane;
      weights[place] = probabilities[first + lane] / divisor;
    }
    written += __popc(lanes);
  }
}

// Sorts pair numbers by expert, stably: order[offsets[e]] is the first pair of expert e, and
// offsets[num_experts] the number of pairs. One warp an expert: it counts the pairs of the experts
// before its own, then writes its own pairs from there.
extern "C" __global__ void sort_by_expert(int* order, int* offsets, const int* experts, int pairs,
                                          int num_experts) {
  using namespace weft_experts;
  pdl_launch_dependents();
  pdl_wait();
  const int lane = threadIdx.x % kWarp;
  const int expert = (blockIdx.x * blockDim.x + threadIdx.x) / kWarp;
  if (expert >= num_experts) return;  // all lanes of a warp have one expert

  int before = 0;
  for (int pair = lane; pair < pairs; pair += kWarp) {
    before += expert_of(experts, pair, num_experts) < expert;
  }
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance >>= 1) {
    before += __shfl_xor_sync(kAllLanes, before, distance);
  }
  if (lane == 0) {
    offsets[expert] = before;
    if (expert == num_experts - 1) offsets[num_experts] = pairs;
  }
  int written = before;
  for (int first = 0; first < pairs; first += kWarp) {
    const int pair = first + lane;
    const bool is_own = pair < pairs && expert_of(experts, pair, num_experts) == expert;
    const unsigned lanes = __ballot_sync(kAllLanes, is_own);
    if (is_own) order[written + lanes_before(lanes)] = pair;
    written += __popc(lanes);
  }
}

// inverse[order[i]] = i
extern "C" __global__ void invert_order(int* inverse, const int* order, int pairs) {
  pdl_launch_dependents();
  pdl_wait();
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < pairs) inverse[order[i]] = i;
}

// out[t] = sum over j of weights[t][j] * y[inverse[t * top_k + j]], in order of j. Grid: [rows, parts
// of a row].
extern "C" __global__ void combine_experts(float* out, int out_stride, const float* y, int y_stride,
                                           const float* weights, const int* inverse, int top_k,
                                           int size) {
  constexpr int N = kVectorSize<float>;
  pdl_launch_dependents();
  pdl_wait();
  const int column = (blockIdx.y * blockDim.x + threadIdx.x) * N;
  const int count = size - column;
  const int first_pair = blockIdx.x * top_k;
  float sums[N] = {};
  for (int j = 0; j < top_k; j++) {
    const float weight = weights[first_pair + j];
    float values[N];
    load_part<N>(row_of(y, inverse[first_pair + j], y_stride) + column, count, values);
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] = fmaf(weight, values[i], sums[i]);
  }
  store_part<N>(row_of(out, blockIdx.x, out_stride) + column, count, sums);
}
