// Shared memory of the running block and the record of who touched each byte when.
//
// Two accesses to a byte, one of them a write, by different threads are a race unless something
// between them orders the threads: __syncthreads(), or an operation of the warp when both are in it.
// Stamps are (time, thread, flags), and each kind of order is a time up to which stamps are known to
// lie before the thread that asks.
#ifndef CUDA_EMULATOR_CORE_SHARED_SHADOW_H
#define CUDA_EMULATOR_CORE_SHARED_SHADOW_H

#include <cstddef>
#include <cstdint>

namespace cuda_emulator {

enum class Access { kRead, kWrite, kAtomic };

// One access: 52 bits of time, 10 of the thread, whether it was atomic, whether it is an
// asynchronous copy that has not ended.
class Stamp {
 public:
  Stamp() = default;
  Stamp(std::uint64_t time, unsigned thread) : bits_(time << 12 | thread << 2) {}

  Stamp atomic() const { return Stamp(bits_ | 2); }
  Stamp pending() const { return Stamp(bits_ | 1); }
  std::uint64_t time() const { return bits_ >> 12; }
  unsigned thread() const { return static_cast<unsigned>(bits_ >> 2 & 1023); }
  bool is_atomic() const { return (bits_ & 2) != 0; }
  bool is_pending() const { return (bits_ & 1) != 0; }

 private:
  explicit Stamp(std::uint64_t bits) : bits_(bits) {}
  std::uint64_t bits_ = 0;
};

class SharedShadow {
 public:
  static constexpr std::size_t kCapacity = 256 * 1024;  // no device gives a block more

  SharedShadow();
  SharedShadow(const SharedShadow&) = delete;
  SharedShadow& operator=(const SharedShadow&) = delete;

  unsigned char* memory() const { return memory_; }
  // Whether the address is in shared memory or so near to it that it must have been meant.
  bool contains(std::uintptr_t address) const { return address - region_ < kRegion; }

  // Checks an access of the current thread and records it; ends the kernel where it is wrong.
  void check(std::uintptr_t address, std::size_t bytes, Access access, const void* code);

  // An asynchronous copy into shared memory: begun by the current thread, then ended, where
  // `written` has one byte of shadow for each byte (null: all are written).
  void begin_copy(std::uintptr_t address, std::size_t bytes, const void* code);
  void end_copy(std::uintptr_t address, std::size_t bytes, const std::uint8_t* written, Stamp stamp);

 private:
  // The last write, and two reads by different threads: a later writer is another thread than one
  // of them at least.
  struct Cell {
    Stamp write;
    Stamp reads[2];
  };

  static constexpr std::size_t kGuard = std::size_t{1} << 20;
  static constexpr std::size_t kRegion = kCapacity + 2 * kGuard;

  void check_bounds(std::uintptr_t address, std::size_t bytes, const void* code) const;
  Cell& cell(std::uintptr_t address) {
    return cells_[address - reinterpret_cast<std::uintptr_t>(memory_)];
  }

  std::uintptr_t region_;
  unsigned char* memory_;
  Cell* cells_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_SHARED_SHADOW_H
