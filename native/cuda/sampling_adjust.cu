// Logits of single tokens changed, put back, and masked, before a draw.
#include "sampling.cuh"

namespace weft_sampling {

// What becomes of the logit of one token: after before and scale, after is added.
struct LogitEntry {
  int id;
  float before;
  float scale;
  float after;
};

// Not contracted: the bits are those of the CPU.
__device__ __forceinline__ float adjusted(float x, const LogitEntry& entry) {
  const float sum = x + entry.before;
  const float scaled = sum > 0.0f ? sum / entry.scale : __fmul_rn(sum, entry.scale);
  return __fadd_rn(scaled, entry.after);
}

}  // namespace weft_sampling

// x becomes x + before, divided by scale where that is above 0 and multiplied by it elsewhere, + after;
// saved[i] keeps the x of entry i. Row t has the entries from starts[t] on, no token twice; those past
// `capacity` and of tokens that the row does not have are passed over. Grid: [rows].
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_adjust(
    float* logits, int stride, int size, int first_id, const int* starts,
    const weft_sampling::LogitEntry* entries, float* saved, int capacity) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  float* row = logits + static_cast<long long>(blockIdx.x) * stride;
  const int end = min(starts[blockIdx.x + 1], capacity);
  for (int i = starts[blockIdx.x] + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    const LogitEntry entry = entries[i];
    const int column = entry.id - first_id;
    if (column < 0 || column >= size) continue;
    saved[i] = row[column];
    row[column] = adjusted(row[column], entry);
  }
}

// Puts back what sampling_adjust has saved. Grid: [rows].
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_restore(
    float* logits, int stride, int size, int first_id, const int* starts,
    const weft_sampling::LogitEntry* entries, const float* saved, int capacity) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  float* row = logits + static_cast<long long>(blockIdx.x) * stride;
  const int end = min(starts[blockIdx.x + 1], capacity);
  for (int i = starts[blockIdx.x] + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    const int column = entries[i].id - first_id;
    if (column >= 0 && column < size) row[column] = saved[i];
  }
}

// -inf for the tokens of row t whose bit of masks[mask_rows[t]] is 0, or that have no bit. Rows without
// a mask that is there, [0, num_masks), stay as they are. Grid: [rows, parts of kPartWidth columns].
extern "C" __global__ void __launch_bounds__(weft_sampling::kThreads) sampling_mask(
    float* logits, int stride, int size, int first_id, const unsigned* masks, int words,
    int num_masks, const int* mask_rows) {
  using namespace weft_sampling;
  pdl_launch_dependents();
  pdl_wait();
  const int number = mask_rows[blockIdx.x];
  if (number < 0 || number >= num_masks) return;
  const unsigned* mask = masks + static_cast<long long>(number) * words;
  float* row = logits + static_cast<long long>(blockIdx.x) * stride;
  const int begin = static_cast<int>(blockIdx.y) * kPartWidth + static_cast<int>(threadIdx.x);
  const int end = min((static_cast<int>(blockIdx.y) + 1) * kPartWidth, size);
  for (int column = begin; column < end; column += kThreads) {
    const int id = first_id + column;
    const int word = id / 32;
    if (word >= words || (mask[word] >> (id % 32) & 1u) == 0) row[column] = minus_infinity();
  }
}
