#include "transaction_barrier.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "access.h"
#include "block.h"
#include "memory.h"

namespace cuda_emulator {

namespace {

constexpr std::size_t kBarrierBytes = 8;
constexpr std::size_t kCopyAlignment = 16;

TransactionBarrier& find_barrier(void* address, const void* code) {
  Block& block = Block::running();
  check_access(address, kBarrierBytes, Access::kAtomic, code);
  const auto found = block.barriers().find(reinterpret_cast<std::uintptr_t>(address));
  if (found == block.barriers().end()) {
    block.fail(Fault::kLaunchFailure, "A barrier is used before barrier_init()", code);
  }
  return found->second;
}

void wake_waiting(Block& block, TransactionBarrier& barrier) {
  for (const unsigned thread : barrier.waiting) block.wake(block.thread(thread));
  barrier.waiting.clear();
}

// Ends the round when nothing is missing: does its copies and begins the next.
void end_round_if_complete(Block& block, TransactionBarrier& barrier) {
  if (barrier.missing > 0 || barrier.missing_bytes != 0) return;
  const std::uint64_t end = block.tick();
  const Arena& arena = Arena::instance();
  for (const BulkCopy& copy : barrier.copies) {
    std::memcpy(reinterpret_cast<void*>(copy.shared), copy.global, copy.bytes);
    const auto source = reinterpret_cast<std::uintptr_t>(copy.global);
    block.shared().end_copy(copy.shared, copy.bytes,
                            arena.contains(source) ? arena.shadow_of(source) : nullptr,
                            Stamp(end, block.current().index));
  }
  barrier.copies.clear();
  barrier.missing = barrier.arrivals;
  barrier.round++;
  barrier.completed = end;
  wake_waiting(block, barrier);
}

}  // namespace

void transaction_barrier_init(void* address, unsigned arrivals) {
  const void* code = __builtin_return_address(0);
  Block& block = Block::running();
  check_alignment(address, kBarrierBytes, code);
  check_access(address, kBarrierBytes, Access::kWrite, code);
  block.barriers()[reinterpret_cast<std::uintptr_t>(address)] = {arrivals, arrivals, 0, {},
                                                                 0,        0,        {}};
}

void transaction_barrier_arrive(void* address, unsigned bytes) {
  const void* code = __builtin_return_address(0);
  TransactionBarrier& barrier = find_barrier(address, code);
  Block& block = Block::running();
  end_round_if_complete(block, barrier);  // the one before, if nobody has waited for it
  if (barrier.missing == 0) {
    block.fail(Fault::kLaunchFailure, "More arrivals at a barrier than barrier_init() announced",
               code);
  }
  barrier.missing--;
  barrier.missing_bytes += bytes;
  // The round ends when somebody waits for it: its copies come as late as allowed.
  if (!barrier.waiting.empty()) end_round_if_complete(block, barrier);
}

void transaction_barrier_wait(void* address, unsigned parity) {
  TransactionBarrier& barrier = find_barrier(address, __builtin_return_address(0));
  Block& block = Block::running();
  end_round_if_complete(block, barrier);
  while (barrier.round % 2 == parity) {
    barrier.waiting.push_back(block.current().index);
    block.park("barrier_wait", nullptr, 0);
    end_round_if_complete(block, barrier);
  }
  Thread& thread = block.current();
  thread.acquired = std::max(thread.acquired, barrier.completed);
}

void bulk_copy(void* shared, const void* global, unsigned bytes, void* address) {
  const void* code = __builtin_return_address(0);
  Block& block = Block::running();
  TransactionBarrier& barrier = find_barrier(address, code);
  check_alignment(shared, kCopyAlignment, code);
  check_alignment(global, kCopyAlignment, code);
  if (bytes == 0 || bytes % kCopyAlignment != 0) {
    block.fail(Fault::kMisalignedAddress,
               "bulk_copy() of " + std::to_string(bytes) + " bytes, not a multiple of 16", code);
  }
  check_source(global, bytes, code);
  end_round_if_complete(block, barrier);
  const auto destination = reinterpret_cast<std::uintptr_t>(shared);
  block.shared().begin_copy(destination, bytes, code);
  barrier.copies.push_back({destination, global, bytes});
  barrier.missing_bytes -= bytes;
  if (!barrier.waiting.empty()) end_round_if_complete(block, barrier);
}

}  // namespace cuda_emulator
