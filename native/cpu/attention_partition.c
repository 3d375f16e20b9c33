// Chooses the arithmetic of a partition by the type of its keys and values, and joins partitions.
#include "attention_partition.h"

#include "simd.h"

void weft_attend_partition(const kv_view* kv, const query_row* rows, int count, int partition,
                           float scale, float* partials) {
  switch (kv->type) {
    case KV_BF16:
      weft_attend_partition_bf16(kv, rows, count, partition, scale, partials);
      return;
    case KV_INT8:
      weft_attend_partition_int8(kv, rows, count, partition, scale, partials);
      return;
    default: weft_attend_partition_f32(kv, rows, count, partition, scale, partials);
  }
}

void weft_merge_partial(float* total, const float* partial, int head_dim) {
  const int m = kv_padded_dim(head_dim), l = m + 1;
  if (partial[l] == 0) return;
  if (total[l] == 0) {
    memcpy(total, partial, (size_t)partial_size(head_dim) * sizeof(float));
    return;
  }
  const float largest = total[m] > partial[m] ? total[m] : partial[m];
  const f32x16 kept = f32x16_exp2(f32x16_set1(total[m] - largest));
  const f32x16 joined = f32x16_exp2(f32x16_set1(partial[m] - largest));
  // The last vector scales l along with o; its other lanes mean nothing, and m is then set.
  for (int d = 0; d < partial_size(head_dim); d += 16) {
    const f32x16 old = f32x16_mul(f32x16_load(total + d), kept);
    f32x16_store(total + d, f32x16_fma(f32x16_load(partial + d), joined, old));
  }
  total[m] = largest;
}

void weft_store_attention(float* out, const float* total, int head_dim) {
  const f32x16 l = f32x16_set1(total[kv_padded_dim(head_dim) + 1]);
  for (int d = 0; d < head_dim; d += 16) {
    const f32x16 o = f32x16_div(f32x16_load(total + d), l);
    f32x16_store_n(out + d, o, head_dim - d < 16 ? head_dim - d : 16);
  }
}
