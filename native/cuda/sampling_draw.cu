// Draws tokens by the Gumbel-max trick: argmax of x / T + g, with g independent Gumbel variables, is a
// draw from softmax(x / T). g depends on (seed, choice, position, token id) alone (NUMERICS.md 9). The
// random words are those of native/cpu/gumbel.c; the noise made of them differs by the last bits of
// two logarithms: |g| < 23, to 2e-6.
#include "philox.cuh"
#include "sampling.cuh"

namespace weft_sampling {

// Last word of the counter: keeps the draws of tokens apart from other uses of a seed.
constexpr unsigned kTokenStream = 0;

struct Draw {
  float temperature;
  float threshold;
  uint2 seed;
  unsigned choice;
  unsigned position;
};

// v = (word + 1/2) / 2^32, uniform in (0, 1).
__device__ __forceinline__ float uniform(unsigned word) {
  const float v = fmaf(__uint2float_rn(word), 1.0f / 4294967296.0f, 0.5f / 4294967296.0f);
  return fminf(v, 1.0f - 1.0f / 16777216.0f);
}

// -ln(e) for the exponential variable e = -ln(1 - v). What decides is a small e.
__device__ __forceinline__ float gumbel(float v) { return -logf(-log1pf(-v)); }

// A noise above best - largest takes e, and so v < e, below exp(largest - best). The margin is far more
// than what rounding can add.
__device__ __forceinline__ float noise_bound(float largest, float best) {
  constexpr float kLog2E = 1.4426950408889634f;
  return fast_exp2((largest - best + 0.01f + 1e-6f * fabsf(best)) * kLog2E);
}

// The best of `own` and a group of tokens; `first_id` is a multiple of kGroup. Most groups hold no
// candidate once a good one has been seen: then they cost no random words.
__device__ __forceinline__ Candidate draw_group(const Draw& draw, const float (&logits)[kGroup],
                                                int first_id, Candidate own) {
  const bool greedy = draw.temperature == 0.0f;
  float values[kGroup];
  float largest = minus_infinity();
#pragma unroll
  for (int i = 0; i < kGroup; i++) {
    const float scaled = greedy ? logits[i] : logits[i] / draw.temperature;
    values[i] = logits[i] >= draw.threshold ? scaled : minus_infinity();
    largest = fmaxf(largest, values[i]);
  }
  if (largest == minus_infinity()) return own;
  if (!greedy) {
    const float bound = noise_bound(largest, own.value);
    if (bound < 0.5f / 4294967296.0f) return own;
    const uint4 block = philox({static_cast<unsigned>(first_id) / kGroup, draw.position,
                                draw.choice, kTokenStream},
                               draw.seed);
    const unsigned words[kGroup] = {block.x, block.y, block.z, block.w};
#pragma unroll
    for (int i = 0; i < kGroup; i++) {
      const float v = uniform(words[i]);
      values[i] = v < bound ? values[i] + gumbel(v) : minus_infinity();
    }
  }
#pragma unroll
  for (int i = 0; i < kGroup; i++) {
    if (values[i] > own.value) own = {values[i], first_id + i};
  }
  return own;
}

}  // namespace weft_sampling

// values and ids [rows]: the best of x / temperature + g, or of x where the temperature is 0, over the
// logits that are at least the row's threshold; -infinity and first_id where there is none. Grid:
// [rows, parts], each part kPartWidth ids, the first beginning at a multiple of kGroup. Shared memory:
// a MergeScratch.
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_gumbel_argmax(
    float* values, int* ids, const float* logits, int stride, int size, int first_id,
    const float* temperatures, const unsigned* seeds, const int* choices, const int* positions,
    const float* thresholds, weft_sampling::Candidate* partials, unsigned* tickets) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x;
  const Draw draw = {temperatures[row],
                     thresholds[row],
                     {seeds[2 * row], seeds[2 * row + 1]},
                     static_cast<unsigned>(choices[row]),
                     static_cast<unsigned>(positions[row])};
  const float* row_logits = row_of(logits, row, stride);
  // Groups begin at multiples of kGroup of the id, as blocks of random words do.
  const int begin = static_cast<int>(blockIdx.y) * kPartWidth - first_id % kGroup;
  Logits part;
  load_logits(row_logits, begin, size, part);
  Candidate own = nothing<Candidate>();
#pragma unroll
  for (int g = 0; g < kGroups; g++) {
    own = draw_group(draw, part[g], first_id + column_of(begin, g), own);
  }
  Candidate best;
  if (merge_row(own, partials, tickets, best)) {
    values[row] = best.value;
    ids[row] = best.id == kNobody ? first_id : best.id;
  }
}

// tokens [rows]: the best of `parts` draws, whose values (as bits) and ids are gathered
// [parts][2][rows]. Parts hold ascending ids, so a later one wins only when it is strictly better.
extern "C" __global__ void sampling_merge_draws(int* tokens, const int* draws, int rows,
                                                int parts) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  if (row >= rows) return;
  Candidate best = {minus_infinity(), draws[rows + row]};
  for (long long part = 0; part < parts; part++) {
    const int* of_part = draws + part * 2 * rows;
    const float value = __int_as_float(of_part[row]);
    if (value > best.value) best = {value, of_part[rows + row]};
  }
  tokens[row] = best.id;
}
