// The entry by which the core calls a kernel with arguments at addresses. The emulated NVRTC defines
// one behind the body of each kernel, where the kernel's name and launch bounds mean what they mean
// to the kernel, and a pointer to it in the section weft_kernels, which is the table.
#ifndef CUDA_EMULATOR_KERNEL_ENTRY_H
#define CUDA_EMULATOR_KERNEL_ENTRY_H

#include "kernel_table.h"

namespace cuda_emulator {

template <unsigned...>
struct Indices {};

template <class... Parameters>
struct Signature {
  static constexpr unsigned kCount = sizeof...(Parameters);
  static constexpr unsigned kSizes[kCount + 1] = {sizeof(Parameters)..., 0};

  // Not checked as an access of the kernel: the arguments lie on the launcher's side.
  template <void (*kernel)(Parameters...), unsigned... indices>
  __attribute__((no_sanitize("thread"))) static void call(void** arguments, Indices<indices...>) {
    kernel(*static_cast<Parameters*>(arguments[indices])...);
  }

  template <void (*kernel)(Parameters...)>
  __attribute__((no_sanitize("thread"))) static void invoke(void** arguments) {
    call<kernel>(arguments, Indices<__integer_pack(kCount)...>{});
  }
};

template <class... Parameters>
Signature<Parameters...> signature_of(void (*)(Parameters...));

template <auto kernel>
constexpr Kernel make_kernel(const char* name, unsigned max_threads) {
  using Called = decltype(signature_of(kernel));
  return {name, &Called::template invoke<kernel>, Called::kCount, Called::kSizes, max_threads};
}

}  // namespace cuda_emulator

// The bounds of the section, which the linker provides; null in a program without kernels.
extern "C" const ::cuda_emulator::Kernel* const __start_weft_kernels[]
    __attribute__((visibility("hidden"), weak));
extern "C" const ::cuda_emulator::Kernel* const __stop_weft_kernels[]
    __attribute__((visibility("hidden"), weak));

extern "C" __attribute__((visibility("default"))) ::cuda_emulator::KernelTable
cuda_emulator_kernel_table() {
  return {__start_weft_kernels, __stop_weft_kernels};
}

#endif  // CUDA_EMULATOR_KERNEL_ENTRY_H
