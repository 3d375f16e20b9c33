// Whether relaxed_madd rounds once here: the standard leaves that to the engine.
#include "simd.h"

int32_t weft_fuses_products(void) {
  const f32x16 a = f32x16_set1(0x1.000002p0f);
  // The product is 1 + 2^-22 + 2^-46, of which a rounded one loses the end.
  const f32x16 sum = f32x16_fma(a, a, f32x16_set1(-0x1.000004p0f));
  const f32x16 difference = f32x16_fnma(a, a, f32x16_set1(0x1.000004p0f));
  return mask16_bits(f32x16_eq(sum, f32x16_set1(0x1p-46f))) == 0xffff &&
         mask16_bits(f32x16_eq(difference, f32x16_set1(-0x1p-46f))) == 0xffff;
}
