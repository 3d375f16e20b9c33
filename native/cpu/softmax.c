// The softmax of a row, reduced in one order.
#include "softmax.h"

#include "simd.h"

void weft_softmax_row(float* out, const float* x, int64_t size) {
  const f32x16 lowest = f32x16_set1(-__builtin_inff());
  f32x16 largest = lowest;
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    const f32x16 value = f32x16_select(mask16_first(n), f32x16_load_n(x + i, n), lowest);
    largest = f32x16_max(largest, value);
  }
  const f32x16 maximum = f32x16_set1(f32x16_hmax(largest));
  f32x16 sums = f32x16_zero();
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    const f32x16 e = f32x16_exp(f32x16_sub(f32x16_load_n(x + i, n), maximum));
    sums = f32x16_add(sums, f32x16_select(mask16_first(n), e, f32x16_zero()));
    f32x16_store_n(out + i, e, n);
  }
  const f32x16 total = f32x16_set1(f32x16_sum(sums));
  for (int64_t i = 0; i < size; i += 16) {
    const int n = size - i < 16 ? (int)(size - i) : 16;
    f32x16_store_n(out + i, f32x16_div(f32x16_load_n(out + i, n), total), n);
  }
}
