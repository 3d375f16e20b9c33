// Operations that the lanes of a warp do together: shuffles, votes, matrix products.
#ifndef CUDA_EMULATOR_CORE_WARP_H
#define CUDA_EMULATOR_CORE_WARP_H

#include <cstdint>
#include <vector>

namespace cuda_emulator {

// Lanes that wait for each other: all that named the same mask.
struct Gathering {
  const char* operation;
  unsigned mask;
  unsigned arrived;
  void* operands[32];  // one a lane, on the lanes' stacks
  const char* file;
  int line;
};

struct Warp {
  std::vector<Gathering> gatherings;  // those that wait; one, unless the warp has diverged
  std::uint64_t synchronized_at;      // accesses of the warp up to this time lie before all later
};

// What an operation does once all its lanes are there: it reads and writes their operands.
using WarpOperation = void (*)(const Gathering& gathering);

// Joins the current lane to the operation, and returns when it is done. The lane that arrives last
// does it for all.
void gather(const char* operation, unsigned mask, void* operand, WarpOperation run,
            const char* file = nullptr, int line = 0);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_WARP_H
