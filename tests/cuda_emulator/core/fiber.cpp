#include "fiber.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#ifndef __x86_64__
#error "The emulator's fibers are written for x86-64"
#endif

asm(R"(
.text
.globl cuda_emulator_switch_stack
.type cuda_emulator_switch_stack, @function
cuda_emulator_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_emulator_switch_stack, .-cuda_emulator_switch_stack
)");

namespace cuda_emulator {

namespace {

constexpr std::size_t kPage = 4096;
constexpr unsigned kSavedRegisters = 6;

}  // namespace

FiberStacks::FiberStacks() {
  void* range = mmap(nullptr, kCount * kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    std::perror("[cuda emulator] cannot map the stacks of a block's threads");
    std::abort();
  }
  base_ = reinterpret_cast<std::uintptr_t>(range);
  for (unsigned i = 0; i < kCount; i++) {  // an overflow ends in a guard page, not in a neighbour
    mprotect(reinterpret_cast<void*>(base_ + i * kBytes), kPage, PROT_NONE);
  }
}

void* FiberStacks::prepare(unsigned index, void (*entry)()) const {
  // Stacks at equal distances would meet in the same cache sets; the tops are spread instead.
  const std::size_t spread = (index % 61) * 64;
  auto* top = reinterpret_cast<std::uint64_t*>(base_ + (index + 1) * kBytes - spread - 64);
  // At `entry` the stack pointer has to be 8 off a multiple of 16, as after a call.
  *--top = 0;
  *--top = reinterpret_cast<std::uint64_t>(entry);
  top -= kSavedRegisters;
  std::memset(top, 0, kSavedRegisters * sizeof *top);
  return top;
}

}  // namespace cuda_emulator
