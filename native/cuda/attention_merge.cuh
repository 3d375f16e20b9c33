// Flash-decoding's merge: a block's warps, and then the blocks that share a row, have each attended
// to a part of the keys; (m, l, o) are a part's largest score (times log2 e), its sum of 2^(score -
// m) and the values weighted by these. Parts are merged in their order, whoever comes last.
#ifndef WEFT_ATTENTION_MERGE_CUH
#define WEFT_ATTENTION_MERGE_CUH

#include "attention_task.cuh"
#include "attention_tile.cuh"
#include "reduce.cuh"

namespace weft_attention {

constexpr int kHeadsAtOnce = 8;  // query heads of one KV head that a block serves in one pass
constexpr int kMaxSplits = 64;
constexpr int kMaxWarps = 8;

// The query heads of one KV head, kHeadsAtOnce at a time; any set of heads may share one.
struct HeadList {
  int head[kHeadsAtOnce];
  int count;  // of all the heads, those of other passes included
};

// Fills `list` with the heads from the `skip`-th on. The first warp calls it.
__device__ __forceinline__ void list_heads(HeadList* list, const int* kv_head_of_head,
                                           int num_heads, int kv_head, int skip) {
  const int lane = threadIdx.x % 32;
  int count = 0;
  for (int base = 0; base < num_heads; base += 32) {
    const int head = base + lane;
    const bool mine = head < num_heads && kv_head_of_head[head] == kv_head;
    const unsigned all = __ballot_sync(0xffffffffu, mine);
    const int place = count + __popc(all & ((1u << lane) - 1)) - skip;
    if (mine && place >= 0 && place < kHeadsAtOnce) list->head[place] = head;
    count += __popc(all);
  }
  if (lane == 0) list->count = count;
}

// Goes on to the heads from the `skip`-th on, when all threads are done with those before.
__device__ __forceinline__ void next_heads(HeadList* list, const int* kv_head_of_head,
                                           int num_heads, int kv_head, int skip) {
  __syncthreads();
  if (threadIdx.x < 32) list_heads(list, kv_head_of_head, num_heads, kv_head, skip);
  __syncthreads();
}

// What a block's warps leave in shared memory for the merge.
struct MergeArea {
  float m[kMaxWarps][kHeadsAtOnce];           // [warp][head]
  float l[kMaxWarps][kHeadsAtOnce];           // [warp][head]
  float weight[kHeadsAtOnce][kMaxSplits];     // of the blocks, by the block that merges them
  unsigned arrived;
};

// A part that has seen no key weighs nothing.
__device__ __forceinline__ float part_weight(float m, float largest) {
  return m == minus_infinity() ? 0.0f : fast_exp2(m - largest);
}

// Where blocks leave their parts of a head for one another: splits x head_size outputs, then
// splits x (m, l).
__device__ __forceinline__ float* head_partials(float* partials, int row, int head, int num_heads,
                                                int splits, int head_size) {
  return partials +
         (static_cast<long long>(row) * num_heads + head) * (splits * (head_size + 2));
}

// Merges the parts of the block's warps (o: [warp][kHeadsAtOnce][o_stride] in shared memory) for
// `heads` heads of `list`, and writes the row's output, or adds to `partials` when the row has
// more parts than this one. `counters` has a zero for each row and head, and is left so.
template <class T>
__device__ __forceinline__ void merge_row(const Arguments<T>& a, int head_size, MergeArea* area,
                                          const float* o, int o_stride, const HeadList* list,
                                          int heads, int token, int split, int splits, int active,
                                          float* partials, int* counters) {
  const int warps = blockDim.x / 32;
  const int row = blockIdx.x;
  __syncthreads();
  for (int i = threadIdx.x; i < heads * head_size; i += blockDim.x) {
    const int h = i / head_size;
    const int d = i % head_size;
    float m = area->m[0][h];
    for (int w = 1; w < warps; w++) m = fmaxf(m, area->m[w][h]);
    float l = 0.0f;
    float sum = 0.0f;
    for (int w = 0; w < warps; w++) {
      const float weight = part_weight(area->m[w][h], m);
      l += weight * area->l[w][h];
      // A warp without keys has left nothing.
      if (weight != 0.0f) sum += weight * o[(w * kHeadsAtOnce + h) * o_stride + d];
    }
    const int head = list->head[h];
    if (active == 1) {
      a.out[static_cast<long long>(token) * a.out_stride + head * head_size + d] =
          from_f32<T>(sum / l);
    } else {
      float* part = head_partials(partials, row, head, a.num_heads, splits, head_size);
      part[split * head_size + d] = sum;
      if (d == 0) {
        part[splits * head_size + 2 * split] = m;
        part[splits * head_size + 2 * split + 1] = l;
      }
    }
  }
  if (active == 1) return;

  __threadfence();
  __syncthreads();
  int* counter = counters + static_cast<long long>(row) * a.num_heads + list->head[0];
  if (threadIdx.x == 0) area->arrived = atomicAdd(counter, 1);
  __syncthreads();
  if (area->arrived != static_cast<unsigned>(active - 1)) return;
  __threadfence();
  if (threadIdx.x == 0) *counter = 0;

  const int lane = threadIdx.x % 32;
  for (int h = threadIdx.x / 32; h < heads; h += warps) {
    const float* ml =
        head_partials(partials, row, list->head[h], a.num_heads, splits, head_size) +
        splits * head_size;
    float largest = minus_infinity();
    for (int s = lane; s < active; s += 32) largest = fmaxf(largest, ml[2 * s]);
    largest = warp_max(largest);
    float total = 0.0f;
    for (int s = lane; s < active; s += 32) {
      total += part_weight(ml[2 * s], largest) * ml[2 * s + 1];
    }
    total = warp_sum(total);
    for (int s = lane; s < active; s += 32) {
      area->weight[h][s] = part_weight(ml[2 * s], largest) / total;
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < heads * head_size; i += blockDim.x) {
    const int h = i / head_size;
    const int d = i % head_size;
    const int head = list->head[h];
    const float* part = head_partials(partials, row, head, a.num_heads, splits, head_size) + d;
    float sum = 0.0f;
#pragma unroll 16
    for (int s = 0; s < active; s++) sum += area->weight[h][s] * part[s * head_size];
    a.out[static_cast<long long>(token) * a.out_stride + head * head_size + d] = from_f32<T>(sum);
  }
}

}  // namespace weft_attention

#endif  // WEFT_ATTENTION_MERGE_CUH
