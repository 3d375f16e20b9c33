// Attention over keys and values in f32: exact products, one key after another.
#include "attention_blocks.h"

enum { VALUE_GROUP = 1 };

static inline uint32_t seen_bits(int key, int begin, int end) {
  return key >= begin && key < end ? ~0u : 0;
}
static inline int is_finite(uint32_t bits) { return (bits & 0x7f800000u) != 0x7f800000u; }

typedef struct {
  const float* elements;
} query_operand;

typedef struct {
  float of[PARTITION];
} weight_row;

static inline void prepare_query(query_operand* q, const float* query, int head_dim) {
  (void)head_dim;
  q->elements = query;
}

static inline f32x16 weight_of(f32x16 score) { return f32x16_exp2(score); }

static inline void keep_weights(weight_row* weights, const partition_blocks* p, int block,
                                f32x16 e) {
  (void)p;
  f32x16_store(weights->of + block * KV_BLOCK, e);
}

typedef float cached;
typedef f32x16 lanes;

static inline lanes load_lanes(const cached* p) { return f32x16_load(p); }

static inline f32x16 add_products(f32x16 sum, lanes a, const float* elements) {
  return f32x16_fma(f32x16_set1(*elements), a, sum);
}

#include "attention_float.h"
#include "attention_float_vector.h"
#include "attention_group.h"

void weft_attend_partition_f32(const kv_view* kv, const query_row* rows, int count, int partition,
                               float scale, float* partials) {
  attend_rows(kv, rows, count, partition, scale, partials);
}
