// mbarrier: a barrier in shared memory whose rounds end after a number of arrivals and of bytes
// that bulk copies have brought.
#ifndef CUDA_EMULATOR_CORE_TRANSACTION_BARRIER_H
#define CUDA_EMULATOR_CORE_TRANSACTION_BARRIER_H

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cuda_emulator {

struct BulkCopy {
  std::uintptr_t shared;
  const void* global;
  std::size_t bytes;
};

struct TransactionBarrier {
  unsigned arrivals;             // of each round
  unsigned missing;              // arrivals that this round still waits for
  std::int64_t missing_bytes;    // expected, less those of the copies that have been started
  std::vector<BulkCopy> copies;  // of this round; they are done when its end is seen
  unsigned round;
  std::uint64_t completed;       // accesses up to this time lie before whoever saw the round end
  std::vector<unsigned> waiting;  // threads
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_TRANSACTION_BARRIER_H
