// Stacks for the threads of a block, and the switch between them. x86-64 System V only; swapcontext
// would cost a system call per switch.
#ifndef CUDA_EMULATOR_CORE_FIBER_H
#define CUDA_EMULATOR_CORE_FIBER_H

#include <cstddef>
#include <cstdint>

// Saves the callee-saved registers on the running stack, leaves the stack pointer in *save, and
// goes on where `load` was saved.
extern "C" void cuda_emulator_switch_stack(void** save, void* load);

namespace cuda_emulator {

class FiberStacks {
 public:
  static constexpr unsigned kCount = 1024;  // the most threads that a block has
  static constexpr std::size_t kBytes = 128 * 1024;

  FiberStacks();
  FiberStacks(const FiberStacks&) = delete;
  FiberStacks& operator=(const FiberStacks&) = delete;

  // A stack pointer for cuda_emulator_switch_stack that begins to run `entry`, which never returns.
  void* prepare(unsigned index, void (*entry)()) const;

  bool contains(std::uintptr_t address) const { return address - base_ < kCount * kBytes; }
  unsigned owner(std::uintptr_t address) const {
    return static_cast<unsigned>((address - base_) / kBytes);
  }

 private:
  std::uintptr_t base_;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_FIBER_H
