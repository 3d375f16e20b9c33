// What a compiled kernel tells about itself: shared between the emulator's core and the entries that
// the emulated NVRTC adds to each program. It is compiled into kernels, so it includes nothing.
#ifndef CUDA_EMULATOR_KERNEL_TABLE_H
#define CUDA_EMULATOR_KERNEL_TABLE_H

namespace cuda_emulator {

struct Kernel {
  const char* name;
  void (*invoke)(void** arguments);  // calls the kernel for the thread whose fiber is running
  unsigned parameter_count;
  const unsigned* parameter_sizes;  // bytes, one a parameter
  unsigned max_threads;             // of a block, by __launch_bounds__; 1024 where it has none
};

struct KernelTable {
  const Kernel* const* begin;
  const Kernel* const* end;
};

// The function by which a kernel image gives its KernelTable.
constexpr char kTableFunction[] = "cuda_emulator_kernel_table";

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_KERNEL_TABLE_H
