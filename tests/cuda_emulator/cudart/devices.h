// The emulated devices: their number, sizes and attributes.
#ifndef CUDA_EMULATOR_CUDART_DEVICES_H
#define CUDA_EMULATOR_CUDART_DEVICES_H

#include <cstddef>

namespace cuda_emulator {

inline constexpr std::size_t kSharedBytesPerBlock = 48 * 1024;
inline constexpr std::size_t kSharedBytesPerBlockOptIn = 227 * 1024;
inline constexpr std::size_t kSharedBytesPerMultiprocessor = 228 * 1024;
inline constexpr std::size_t kReservedSharedBytesPerBlock = 1024;
inline constexpr int kThreadsPerBlock = 1024;
inline constexpr int kThreadsPerMultiprocessor = 2048;
inline constexpr int kBlocksPerMultiprocessor = 32;

int device_count();
bool is_device(int device);
std::size_t device_memory();

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_DEVICES_H
