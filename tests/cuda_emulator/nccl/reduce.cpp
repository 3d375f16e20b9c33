#include "reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../include/device_calls.h"

namespace cuda_emulator {

namespace {

float bf16_to_float(std::uint16_t bits) {
  const std::uint32_t wide = std::uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

std::uint16_t float_to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return 0x7fff;
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <typename Wide>
Wide combine(Wide a, Wide b, NcclReduction reduction) {
  switch (reduction) {
    case NcclReduction::kProduct: return a * b;
    case NcclReduction::kMax: return std::max(a, b);
    case NcclReduction::kMin: return std::min(a, b);
    default: return a + b;
  }
}

// Elements are stored as `Stored`, and reduced as what `load` gives.
template <typename Stored, typename Load, typename Store>
void reduce_as(unsigned char* destination, const std::vector<const unsigned char*>& parts,
               std::size_t count, NcclReduction reduction, Load load, Store store) {
  for (std::size_t index = 0; index < count; ++index) {
    auto element = [&](std::size_t part) {
      Stored value;
      std::memcpy(&value, parts[part] + index * sizeof value, sizeof value);
      return load(value);
    };
    auto total = element(0);
    for (std::size_t part = 1; part < parts.size(); ++part) {
      total = combine(total, element(part), reduction);
    }
    if (reduction == NcclReduction::kAverage) {
      total /= static_cast<decltype(total)>(parts.size());
    }
    const Stored value = store(total);
    std::memcpy(destination + index * sizeof value, &value, sizeof value);
  }
}

template <typename Stored, typename Wide = Stored>
void reduce_plain(unsigned char* destination, const std::vector<const unsigned char*>& parts,
                  std::size_t count, NcclReduction reduction) {
  reduce_as<Stored>(
      destination, parts, count, reduction, [](Stored value) { return static_cast<Wide>(value); },
      [](Wide value) { return static_cast<Stored>(value); });
}

}  // namespace

void reduce(unsigned char* destination, const std::vector<const unsigned char*>& parts,
            std::size_t count, NcclType type, NcclReduction reduction) {
  switch (type) {
    case NcclType::kInt8: return reduce_plain<std::int8_t, int>(destination, parts, count, reduction);
    case NcclType::kUint8:
      return reduce_plain<std::uint8_t, unsigned>(destination, parts, count, reduction);
    // Signed numbers are added in wider ones, as their overflow would be undefined.
    case NcclType::kInt32:
      return reduce_plain<std::int32_t, std::int64_t>(destination, parts, count, reduction);
    case NcclType::kUint32:
      return reduce_plain<std::uint32_t>(destination, parts, count, reduction);
    case NcclType::kInt64:
      return reduce_plain<std::int64_t, __int128>(destination, parts, count, reduction);
    case NcclType::kUint64:
      return reduce_plain<std::uint64_t>(destination, parts, count, reduction);
    case NcclType::kFloat32: return reduce_plain<float>(destination, parts, count, reduction);
    case NcclType::kFloat64: return reduce_plain<double>(destination, parts, count, reduction);
    case NcclType::kBfloat16:
      return reduce_as<std::uint16_t>(destination, parts, count, reduction, bf16_to_float,
                                      float_to_bf16);
    case NcclType::kFloat16:
      return reduce_as<std::uint16_t>(destination, parts, count, reduction, widen_f16, narrow_f16);
  }
}

}  // namespace cuda_emulator
