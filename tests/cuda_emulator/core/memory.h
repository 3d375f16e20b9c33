// Where emulated memory lies, for the checks that every access of a kernel passes.
//
// All memory comes from one reserved range with a part for pinned host memory and one for each device.
// Addresses go upwards in each and none is used twice: whatever is not in a live allocation is out
// of bounds or freed. A shadow byte at a fixed distance from each byte
// holds its Writer. It is zero outside live allocations, so a non-zero shadow alone means that an
// access is in bounds, and only first writes and faults need the table of allocations.
#ifndef CUDA_EMULATOR_CORE_MEMORY_H
#define CUDA_EMULATOR_CORE_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

class Arena {
 public:
  static const Arena& instance() {
    static const Arena arena;
    return arena;
  }

  bool contains(std::uintptr_t address) const { return address - base_ < kBytes; }
  std::uint8_t* shadow_of(std::uintptr_t address) const { return shadow_ + (address - base_); }

  // The device that has the address; -1 for pinned host memory, which every device may use.
  int device_of(std::uintptr_t address) const {
    return static_cast<int>((address - base_) / kPartBytes) - 1;
  }
  std::uintptr_t part_of(int device) const {
    return base_ + static_cast<std::size_t>(device + 1) * kPartBytes;
  }

  static constexpr int kMaxDevices = 15;
  static constexpr std::size_t kPartBytes = std::size_t{1} << 38;
  static constexpr std::size_t kBytes = kPartBytes * (kMaxDevices + 1);

 private:
  Arena();

  std::uintptr_t base_;
  std::uint8_t* shadow_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_MEMORY_H
