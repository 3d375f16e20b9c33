// Attention over keys and values in bf16. Queries and weights are rounded to bf16 too, always;
// products are added in f32, pair by pair.
#include "amx.h"
#ifdef WEFT_AMX
#define GROUP_ROWS AMX_ROWS
#endif
#include "attention_blocks.h"
#include "panel_simd.h"

enum { VALUE_GROUP = 2 };

#if defined(WEFT_AMX) || defined(__AVX512BF16__)
typedef uint16_t operand;
#else
typedef panel_token operand;
#endif

ALWAYS_INLINE void store_operands(operand* p, f32x16 a) {
#if defined(__AVX512BF16__)
  _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(a));
#elif defined(WEFT_AMX)
  f32x16_store_bf16(p, a);
#else
  panel_store_token(p, a, 16);
#endif
}

typedef struct {
  operand elements[MAX_HEAD_DIM];  // zero past the head's end, up to a whole vector
} query_operand;

typedef struct {
  operand of[PARTITION];
} weight_row;

static inline void prepare_query(query_operand* q, const float* query, int head_dim) {
  for (int d = 0; d < head_dim; d += 16) {
    store_operands(q->elements + d, f32x16_load_n(query + d, min_int(16, head_dim - d)));
  }
}

// 2^score. Where one instruction takes the score's fraction and another its power, the polynomial
// may be shorter by a degree: it leaves 8e-8, and a weight keeps 8 bits.
static inline f32x16 weight_of(f32x16 score) {
#if defined(__AVX512F__) && defined(__AVX512DQ__)
  const __m512 r = _mm512_reduce_ps(score, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  f32x16 p = f32x16_set1(0x1.e975f2p-10f);
  p = f32x16_fma(p, r, f32x16_set1(0x1.277814p-7f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.c91cf2p-5f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.ebdb56p-3f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.62e4bap-1f));
  p = f32x16_fma(p, r, f32x16_set1(1.0f));
  return _mm512_scalef_ps(p, score);
#else
  return f32x16_exp2(score);
#endif
}

static inline void keep_weights(weight_row* weights, const partition_blocks* p, int block,
                                f32x16 e) {
  (void)p;
  store_operands(weights->of + block * KV_BLOCK, e);
}

static inline uint32_t seen_bits(int pair, int begin, int end) {
  const int key = 2 * pair;
  const uint32_t first = key >= begin && key < end ? 0xffffu : 0;
  const uint32_t second = key + 1 >= begin && key + 1 < end ? 0xffff0000u : 0;
  return first | second;
}
static inline int is_finite(uint32_t pair) {
  return ((pair & 0x7f800000u) != 0x7f800000u) & ((pair & 0x7f80u) != 0x7f80u);
}

#include "attention_float.h"
#ifdef WEFT_AMX
#include "attention_bf16_amx.h"
#else

typedef uint16_t cached;
typedef panel_pairs lanes;
#define load_lanes panel_load
#define add_products panel_multiply

#include "attention_float_vector.h"
#endif

#include "attention_group.h"

void weft_attend_partition_bf16(const kv_view* kv, const query_row* rows, int count, int partition,
                                float scale, float* partials) {
  attend_rows(kv, rows, count, partition, scale, partials);
}
