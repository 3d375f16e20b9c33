#include "numbers.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../include/device_calls.h"

namespace cuda_emulator {

namespace {

// `value` with `bits` bits of mantissa after the leading one, where the exponent allows that many: a
// step is never smaller than `smallest_step`, the distance of subnormal numbers.
double round_mantissa(double value, int bits, double smallest_step) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent;
  std::frexp(value, &exponent);
  const double step = std::fmax(std::ldexp(1.0, exponent - 1 - bits), smallest_step);
  return std::nearbyint(value / step) * step;
}

// Weights are many, so each half is widened once.
float f16_to_f32(std::uint16_t bits) {
  static const std::vector<float> widened = [] {
    std::vector<float> all(1 << 16);
    for (std::size_t half = 0; half < all.size(); ++half) {
      all[half] = widen_f16(static_cast<unsigned short>(half));
    }
    return all;
  }();
  return widened[bits];
}

std::uint16_t to_f16(double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7fff;
  const double magnitude = round_mantissa(std::fabs(value), 10, std::ldexp(1.0, -24));
  if (magnitude > 65504) return sign | 0x7c00;
  if (magnitude < std::ldexp(1.0, -14)) {
    return sign | static_cast<std::uint16_t>(std::ldexp(magnitude, 24));
  }
  int exponent;
  const double fraction = std::frexp(magnitude, &exponent);
  const auto mantissa = static_cast<std::uint16_t>(std::ldexp(fraction, 11)) & 1023;
  return sign | static_cast<std::uint16_t>((exponent + 14) << 10) | mantissa;
}

std::uint16_t to_bf16(double value) {
  if (std::isnan(value)) return 0x7fff;
  const auto rounded = static_cast<float>(round_mantissa(value, 7, std::ldexp(1.0, -133)));
  std::uint32_t bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

}  // namespace

std::size_t size_of(DataType type) { return type == DataType::kF32 ? 4 : 2; }

float load_number(DataType type, const void* address) {
  float value;
  if (type == DataType::kF32) {
    std::memcpy(&value, address, sizeof value);
    return value;
  }
  std::uint16_t half;
  std::memcpy(&half, address, sizeof half);
  if (type == DataType::kF16) return f16_to_f32(half);
  const std::uint32_t bits = std::uint32_t{half} << 16;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

void store_number(DataType type, void* address, double value) {
  if (type == DataType::kF32) {
    const auto rounded = static_cast<float>(value);
    std::memcpy(address, &rounded, sizeof rounded);
    return;
  }
  const std::uint16_t half = type == DataType::kF16 ? to_f16(value) : to_bf16(value);
  std::memcpy(address, &half, sizeof half);
}

float round_to_tf32(float value) {
  return static_cast<float>(round_mantissa(value, 10, std::ldexp(1.0, -136)));
}

}  // namespace cuda_emulator
