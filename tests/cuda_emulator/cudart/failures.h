// Failures that tests ask for, by WEFT_EMULATED_FAILURES or weft_emulator_inject_failures(): a list
// such as `allocation=3,launch=10@1`. README.md names them.
#ifndef CUDA_EMULATOR_CUDART_FAILURES_H
#define CUDA_EMULATOR_CUDART_FAILURES_H

#include <cstdint>

namespace cuda_emulator {

enum class Failure : int {
  kAllocation,
  kMemory,
  kHostAllocation,
  kHostRegistration,
  kLaunch,
  kHang,
  kNcclRemoteError,
  kNcclHang,
  kNcclInitHang,
};

// Counts one more occasion; true when it is the one that was asked for on this device.
bool is_due(Failure failure, int device);
// The number that was asked for on this device; 0 when none was.
std::uint64_t failure_value(Failure failure, int device);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CUDART_FAILURES_H
