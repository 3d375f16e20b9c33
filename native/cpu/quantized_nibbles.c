// Quantises up to 32 inputs of sixteen outputs to 4 bits. Lanes are outputs. A range has zeros,
// which halves the error of outliers on one side, and may be a little narrower than the weights',
// where that makes the sum of squared errors less.
#include <math.h>

#include "integer_dot.h"
#include "quantized.h"

enum { NIBBLE_MAX = 15 };

// Parts of the range that are tried.
static const float RANGES[] = {1.0f, 0.95f, 0.9f, 0.85f};

// [-low, high] in 16 steps.
typedef struct {
  f32x16 scale;  // exact in f16
  f32x16 zero;
} nibble_range;

static nibble_range range_of(f32x16 low, f32x16 high) {
  uint16_t half[16];
  f32x16_store_f16(half, f32x16_div(f32x16_add(high, low), f32x16_set1(NIBBLE_MAX)));
  const f32x16 scale = f32x16_load_f16(half);
  return (nibble_range){scale, f32x16_round(f32x16_div(low, scale))};
}

static f32x16 nearest(f32x16 values, f32x16 inverse, f32x16 zero) {
  const f32x16 q = f32x16_add(f32x16_round(f32x16_mul(values, inverse)), zero);
  return f32x16_max(f32x16_zero(), f32x16_min(f32x16_set1(NIBBLE_MAX), q));
}

static f32x16 inverse_of(nibble_range range) {
  return f32x16_div(f32x16_set1(1), range.scale);
}

static f32x16 squared_error(const f32x16* x, int length, nibble_range range) {
  const f32x16 inverse = inverse_of(range);
  f32x16 sum = f32x16_zero();
  for (int i = 0; i < length; i++) {
    const f32x16 steps = f32x16_sub(nearest(x[i], inverse, range.zero), range.zero);
    const f32x16 error = f32x16_fnma(steps, range.scale, x[i]);
    sum = f32x16_fma(error, error, sum);
  }
  return sum;
}

static nibble_range best_range(const f32x16* x, int length) {
  f32x16 low = f32x16_zero(), high = f32x16_zero(), none = f32x16_zero();
  for (int i = 0; i < length; i++) {
    low = f32x16_max(f32x16_neg(x[i]), low);
    high = f32x16_max(x[i], high);
    none = f32x16_add(none, f32x16_sub(x[i], x[i]));
  }
  nibble_range best = range_of(low, high);
  f32x16 least = squared_error(x, length, best);
  for (int i = 1; i < (int)(sizeof RANGES / sizeof RANGES[0]); i++) {
    const f32x16 part = f32x16_set1(RANGES[i]);
    const nibble_range range = range_of(f32x16_mul(low, part), f32x16_mul(high, part));
    const f32x16 error = squared_error(x, length, range);
    // Where a range is empty its error is no number.
    const mask16 better = f32x16_lt(error, least);
    best.scale = f32x16_select(better, range.scale, best.scale);
    best.zero = f32x16_select(better, range.zero, best.zero);
    least = f32x16_select(better, error, least);
  }
  const f32x16 no_number = f32x16_set1(NAN);
  const mask16 in_range = f32x16_lt(best.scale, f32x16_set1(INFINITY));
  best.scale = f32x16_select(in_range, best.scale, no_number);
  best.scale = f32x16_select(f32x16_eq(none, none), best.scale, no_number);
  best.zero = f32x16_select(f32x16_gt(best.scale, f32x16_zero()), best.zero, f32x16_zero());
  return best;
}

// Bytes of sixteen outputs, four inputs each, from `low` nibbles and the `high` ones.
static void store_unit(uint8_t* unit, const f32x16* low, const f32x16* high) {
  int8_t bytes[4][16];
  for (int i = 0; i < 4; i++) {
    const f32x16 both = f32x16_fma(f32x16_set1(16), high[i], low[i]);
    f32x16_store_i8(bytes[i], f32x16_sub(both, f32x16_set1(128)));
  }
  for (int o = 0; o < 16; o++) {
    for (int i = 0; i < 4; i++) unit[4 * o + i] = (uint8_t)bytes[i][o] ^ 128;
  }
}

void weft_quantize_nibbles(weft_nibbles* out, const float* values, int64_t stride, int length) {
  f32x16 x[WEFT_NIBBLE_INPUTS];
  for (int i = 0; i < length; i++) {
    float column[16];
    for (int o = 0; o < 16; o++) column[o] = values[o * stride + i];
    x[i] = f32x16_load(column);
  }
  const nibble_range range = best_range(x, length);
  const f32x16 inverse = inverse_of(range);
  const mask16 usable = f32x16_gt(range.scale, f32x16_zero());
  f32x16 q[WEFT_NIBBLE_INPUTS];
  for (int i = 0; i < WEFT_NIBBLE_INPUTS; i++) {
    const f32x16 whole = i < length ? nearest(x[i], inverse, range.zero) : f32x16_zero();
    q[i] = f32x16_select(usable, whole, f32x16_zero());
  }
  for (int i = 0; i < length; i += 8) {
    store_unit(out->units + i / 8 * WEFT_UNIT_BYTES, q + i, q + i + 4);
  }
  f32x16_store_f16(out->scales, range.scale);
  f32x16_store_i8((int8_t*)out->zeros, range.zero);
}
