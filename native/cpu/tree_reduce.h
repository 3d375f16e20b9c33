// Element-wise reduction over the ranks' parts by one binary tree: neighbours pair up level by level,
// ((0+1)+(2+3))+((4+5)+(6+7)), and an odd one is carried up. The order depends on nothing but the number
// of parts, so every rank that reduces the same parts gets the same bits.
#ifndef WEFT_TREE_REDUCE_H
#define WEFT_TREE_REDUCE_H

#include <stdint.h>
#include <string.h>

enum { WEFT_MAX_RANKS = 64, WEFT_REDUCE_BLOCK = 256 };

// Codes of element types and reductions; src/native/communication.ts has the same.
enum { WEFT_TYPE_F64, WEFT_TYPE_F32, WEFT_TYPE_F16, WEFT_TYPE_BF16, WEFT_TYPE_I64, WEFT_TYPE_I32,
       WEFT_TYPE_U8, WEFT_TYPES };
enum { WEFT_SUM, WEFT_MAX, WEFT_MIN, WEFT_OPERATIONS };

// a OP b on `count` elements.
typedef void (*weft_combine)(void* out, const void* a, const void* b, uint32_t count);

#define WEFT_COMBINE(name, type, expression)                                           \
  static void name(void* out, const void* left, const void* right, uint32_t count) {   \
    type* o = out;                                                                     \
    const type *l = left, *r = right;                                                  \
    for (uint32_t i = 0; i < count; i++) {                                             \
      type a = l[i], b = r[i];                                                         \
      o[i] = (expression);                                                             \
    }                                                                                  \
  }

// Sums of integers wrap. The greater or lesser of a number and a NaN is the NaN.
#define WEFT_COMBINE_INTEGER(suffix, type, unsigned_type)                              \
  WEFT_COMBINE(sum_##suffix, type, (type)((unsigned_type)a + (unsigned_type)b))        \
  WEFT_COMBINE(max_##suffix, type, a > b ? a : b)                                      \
  WEFT_COMBINE(min_##suffix, type, a < b ? a : b)
#define WEFT_COMBINE_FLOAT(suffix, type)                                               \
  WEFT_COMBINE(sum_##suffix, type, a + b)                                              \
  WEFT_COMBINE(max_##suffix, type, (a > b || a != a) ? a : b)                          \
  WEFT_COMBINE(min_##suffix, type, (a < b || a != a) ? a : b)

WEFT_COMBINE_FLOAT(f64, double)
WEFT_COMBINE_FLOAT(f32, float)
WEFT_COMBINE_INTEGER(i64, int64_t, uint64_t)
WEFT_COMBINE_INTEGER(i32, int32_t, uint32_t)
WEFT_COMBINE_INTEGER(u8, uint8_t, uint8_t)

// NULL where a type is copied but not reduced (f16, bf16).
static const weft_combine WEFT_COMBINES[WEFT_TYPES][WEFT_OPERATIONS] = {
    [WEFT_TYPE_F64] = {sum_f64, max_f64, min_f64}, [WEFT_TYPE_F32] = {sum_f32, max_f32, min_f32},
    [WEFT_TYPE_I64] = {sum_i64, max_i64, min_i64}, [WEFT_TYPE_I32] = {sum_i32, max_i32, min_i32},
    [WEFT_TYPE_U8] = {sum_u8, max_u8, min_u8},
};

// Reduces `parts[0..ranks)` of `count` elements of `width` bytes into `out`, which must not be a part.
static void weft_tree_reduce(weft_combine combine, uint8_t* out, const uint8_t* const* parts, int ranks,
                             uint64_t count, uint32_t width) {
  uint8_t scratch[WEFT_MAX_RANKS / 2][WEFT_REDUCE_BLOCK * 8] __attribute__((aligned(64)));
  for (uint64_t start = 0; start < count; start += WEFT_REDUCE_BLOCK) {
    uint64_t rest = count - start;
    uint32_t block = rest < WEFT_REDUCE_BLOCK ? (uint32_t)rest : WEFT_REDUCE_BLOCK;
    const uint8_t* nodes[WEFT_MAX_RANKS];
    for (int r = 0; r < ranks; r++) nodes[r] = parts[r] + start * width;
    for (int remaining = ranks; remaining > 1; remaining = (remaining + 1) / 2) {
      for (int pair = 0; pair < remaining / 2; pair++) {
        uint8_t* sum = remaining == 2 ? out + start * width : scratch[pair];
        combine(sum, nodes[2 * pair], nodes[2 * pair + 1], block);
        nodes[pair] = sum;
      }
      if (remaining % 2 == 1) nodes[remaining / 2] = nodes[remaining - 1];
    }
    if (ranks == 1) memcpy(out + start * width, nodes[0], (size_t)block * width);
  }
}

#endif
