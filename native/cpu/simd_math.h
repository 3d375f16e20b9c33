// exp, log, tanh and the activations on f32x16, written once over its operations: the bits are the
// same for full and partial vectors and on every instruction set (NUMERICS.md 3). About 1-2 ulp.

// e^x = 2^n e^r with |r| <= ln(2) / 2; Taylor to r^7 leaves 5e-9. exp(0) = 1 and exp(-inf) = 0
// exactly.
static inline f32x16 f32x16_exp(f32x16 x) {
  // The bounds lie past overflow (88.7) and past underflow to zero (-103.97). x comes second so
  // that NaN goes through.
  x = f32x16_min(f32x16_set1(89.0f), f32x16_max(f32x16_set1(-105.0f), x));
  const f32x16 n = f32x16_round(f32x16_mul(x, f32x16_set1(1.44269504f)));
  // ln(2) in two parts; the upper has 12 zero bits at its end, so that its product with n is exact.
  f32x16 r = f32x16_fnma(n, f32x16_set1(0x1.62ep-1f), x);
  r = f32x16_fnma(n, f32x16_set1(0x1.0bfbe8p-15f), r);
  f32x16 p = f32x16_set1(1.0f / 5040);
  p = f32x16_fma(p, r, f32x16_set1(1.0f / 720));
  p = f32x16_fma(p, r, f32x16_set1(1.0f / 120));
  p = f32x16_fma(p, r, f32x16_set1(1.0f / 24));
  p = f32x16_fma(p, r, f32x16_set1(1.0f / 6));
  p = f32x16_fma(p, r, f32x16_set1(0.5f));
  p = f32x16_fma(f32x16_mul(r, r), p, r);
  return f32x16_scale(f32x16_add(f32x16_set1(1.0f), p), n);
}

// 2^x for x <= 0: one rounding of the exponent instead of two of a product, for attention, which keeps its
// scores in bits. The polynomial leaves 1e-8. 2^0 = 1 and 2^-inf = 0 exactly.
static inline f32x16 f32x16_exp2(f32x16 x) {
  x = f32x16_max(f32x16_set1(-160.0f), x);
  const f32x16 n = f32x16_round(x);
  const f32x16 r = f32x16_sub(x, n);
  f32x16 p = f32x16_set1(0x1.44138ap-13f);
  p = f32x16_fma(p, r, f32x16_set1(0x1.5f089p-10f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.3b2a54p-7f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.c6af6cp-5f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.ebfbep-3f));
  p = f32x16_fma(p, r, f32x16_set1(0x1.62e43p-1f));
  p = f32x16_fma(p, r, f32x16_set1(1.0f));
  return f32x16_scale(p, n);
}

// ln x = exponent ln 2 + ln(1 + f), the latter by the series of artanh in s = f / (2 + f), |s| <=
// 1/5. ln 0 = -inf, ln of a negative number is NaN.
static inline f32x16 f32x16_log(f32x16 x) {
  const mask16 subnormal = f32x16_lt(x, f32x16_set1(0x1p-126f));
  const f32x16 normal = f32x16_select(subnormal, f32x16_mul(x, f32x16_set1(0x1p25f)), x);
  f32x16 exponent;
  const f32x16 f = f32x16_sub(f32x16_split(normal, &exponent), f32x16_set1(1.0f));
  exponent = f32x16_add(exponent, f32x16_select(subnormal, f32x16_set1(-25.0f), f32x16_zero()));

  const f32x16 s = f32x16_div(f, f32x16_add(f32x16_set1(2.0f), f));
  const f32x16 z = f32x16_mul(s, s);
  f32x16 p = f32x16_set1(2.0f / 13);
  p = f32x16_fma(p, z, f32x16_set1(2.0f / 11));
  p = f32x16_fma(p, z, f32x16_set1(2.0f / 9));
  p = f32x16_fma(p, z, f32x16_set1(2.0f / 7));
  p = f32x16_fma(p, z, f32x16_set1(2.0f / 5));
  p = f32x16_fma(p, z, f32x16_set1(2.0f / 3));
  p = f32x16_mul(p, z);
  // ln(1 + f) = f - (h - s (h + p)) with h = f^2 / 2: the small terms are summed first.
  const f32x16 h = f32x16_mul(f32x16_mul(f32x16_set1(0.5f), f), f);
  f32x16 low = f32x16_mul(exponent, f32x16_set1(0x1.0bfbe8p-15f));
  low = f32x16_sub(h, f32x16_fma(s, f32x16_add(h, p), low));
  f32x16 y = f32x16_fma(exponent, f32x16_set1(0x1.62ep-1f), f32x16_sub(f, low));

  y = f32x16_select(f32x16_gt(x, f32x16_set1(0x1.fffffep127f)), x, y);
  y = f32x16_select(f32x16_eq(x, f32x16_zero()), f32x16_set1(-__builtin_inff()), y);
  // Neither x >= 0 nor x < 0 holds for NaN, which x - x keeps.
  const f32x16 nan = f32x16_select(f32x16_lt(x, f32x16_zero()), f32x16_set1(__builtin_nanf("")), x);
  return f32x16_select(f32x16_ge(x, f32x16_zero()), y, nan);
}

// Lambert's continued fraction near zero, 1 - 2 / (e^2|x| + 1) elsewhere.
static inline f32x16 f32x16_tanh(f32x16 x) {
  const f32x16 z = f32x16_mul(x, x);
  f32x16 top = f32x16_add(z, f32x16_set1(378.0f));
  top = f32x16_fma(top, z, f32x16_set1(17325.0f));
  top = f32x16_fma(top, z, f32x16_set1(135135.0f));
  f32x16 bottom = f32x16_fma(f32x16_set1(28.0f), z, f32x16_set1(3150.0f));
  bottom = f32x16_fma(bottom, z, f32x16_set1(62370.0f));
  bottom = f32x16_fma(bottom, z, f32x16_set1(135135.0f));
  const f32x16 small = f32x16_mul(x, f32x16_div(top, bottom));

  const f32x16 magnitude = f32x16_abs(x);
  const f32x16 e = f32x16_exp(f32x16_add(magnitude, magnitude));
  const f32x16 one = f32x16_set1(1.0f);
  const f32x16 large =
      f32x16_sub(one, f32x16_div(f32x16_set1(2.0f), f32x16_add(e, one)));
  return f32x16_select(f32x16_lt(magnitude, f32x16_set1(0.625f)), small, f32x16_copysign(large, x));
}

// x / (1 + e^-x)
static inline f32x16 f32x16_silu(f32x16 x) {
  return f32x16_div(x, f32x16_add(f32x16_set1(1.0f), f32x16_exp(f32x16_neg(x))));
}

// x/2 (1 + tanh u) with u = sqrt(2/pi) (x + 0.044715 x^3), written as x / (1 + e^-2u), which does
// not cancel for negative x.
static inline f32x16 f32x16_gelu_tanh(f32x16 x) {
  const f32x16 cubic = f32x16_fma(f32x16_mul(f32x16_set1(0.044715f), f32x16_mul(x, x)), x, x);
  const f32x16 e = f32x16_exp(f32x16_mul(f32x16_set1(-1.59576912f), cubic));
  return f32x16_div(x, f32x16_add(f32x16_set1(1.0f), e));
}
