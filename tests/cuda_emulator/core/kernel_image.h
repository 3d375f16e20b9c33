// Compiled kernels: what the emulated NVRTC gives out as a cubin, and where they are loaded.
#ifndef CUDA_EMULATOR_CORE_KERNEL_IMAGE_H
#define CUDA_EMULATOR_CORE_KERNEL_IMAGE_H

#include <cstdint>
#include <string>

namespace cuda_emulator {

// A "cubin" is this header and the bytes of a shared object, whose functions g++ has compiled.
struct CubinHeader {
  char magic[8];
  std::uint64_t bytes;  // of the shared object
};

inline constexpr char kCubinMagic[8] = {'W', 'E', 'F', 'T', 'E', 'M', 'U', '1'};

// Whether the address lies in a loaded kernel image: its code and constants.
bool is_in_kernel_image(const void* address);

// The source line of an address in a kernel image, as ` at file:line`; empty where not known.
std::string source_line(const void* code);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_KERNEL_IMAGE_H
