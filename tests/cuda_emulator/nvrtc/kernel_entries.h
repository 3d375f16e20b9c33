// Finds the kernels of a preprocessed program and gives each its entry (include/kernel_entry.h).
#ifndef CUDA_EMULATOR_NVRTC_KERNEL_ENTRIES_H
#define CUDA_EMULATOR_NVRTC_KERNEL_ENTRIES_H

#include <string>

namespace cuda_emulator {

// The program with an entry behind each kernel, and without what g++ does not know (__global__,
// __launch_bounds__). Lines stay where they are. Throws std::runtime_error for a kernel that is not
// `extern "C" __global__ void NAME(...)`.
std::string add_kernel_entries(std::string program);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_NVRTC_KERNEL_ENTRIES_H
