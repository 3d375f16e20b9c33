// Halves, without the help of instructions that not every x86-64 has.
#include <cmath>

#include "../include/device_calls.h"

namespace cuda_emulator {

float widen_f16(unsigned short bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction == 0 ? HUGE_VALF : NAN;
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

unsigned short narrow_f16(float value) {
  const unsigned sign = std::signbit(value) ? 0x8000u : 0u;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return 0x7fff;
  if (magnitude >= 65520.0f) return static_cast<unsigned short>(sign | 0x7c00);
  // The distance of halves near the value: 2^-24 below the normal ones, else 2^(exponent - 10).
  const int exponent = magnitude < 0x1p-14f ? -14 : std::ilogb(magnitude);
  const float steps = std::nearbyint(std::ldexp(magnitude, 10 - exponent));
  // A carry out of the fraction moves to the exponent, which is what the rounded value needs.
  const unsigned base = static_cast<unsigned>(exponent + 14) << 10;
  return static_cast<unsigned short>(sign | (base + static_cast<unsigned>(steps)));
}

}  // namespace cuda_emulator
