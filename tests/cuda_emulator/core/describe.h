// How messages name threads and blocks.
#ifndef CUDA_EMULATOR_CORE_DESCRIBE_H
#define CUDA_EMULATOR_CORE_DESCRIBE_H

#include <string>

#include "../include/device_calls.h"

namespace cuda_emulator {

inline std::string coordinates(Index3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " +
         std::to_string(index.z) + ")";
}

inline std::string describe(Index3 thread) { return "thread " + coordinates(thread); }

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_DESCRIBE_H
