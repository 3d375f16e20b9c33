// Where emulated memory lies, for the checks that every access of a kernel passes.
//
// All memory comes from one reserved range, upwards, and no address is used twice: whatever is not
// in a live allocation is out of bounds or freed. A shadow byte at a fixed distance from each byte
// holds its Writer. It is zero outside live allocations, so a non-zero shadow alone means that an
// access is in bounds, and only first writes and faults need the table of allocations.
#ifndef CUDA_EMULATOR_CORE_MEMORY_H
#define CUDA_EMULATOR_CORE_MEMORY_H

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

class Arena {
 public:
  static const Arena& instance();

  bool contains(std::uintptr_t address) const { return address - base_ < kBytes; }
  std::uint8_t* shadow_of(std::uintptr_t address) const { return shadow_ + (address - base_); }
  std::uintptr_t base() const { return base_; }

  static constexpr std::size_t kBytes = std::size_t{1} << 40;

 private:
  Arena();

  std::uintptr_t base_;
  std::uint8_t* shadow_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_MEMORY_H
