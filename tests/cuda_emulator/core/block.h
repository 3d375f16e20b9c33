// The block that is running: its threads, who of them may go on, and how it fails.
//
// One thread runs at a time, until it has to wait for others, so everything here is plain data. The
// order of memory operations is kept as times: a clock ticks whenever threads are ordered, and each
// access to shared memory is stamped with it (shared_shadow.h).
#ifndef CUDA_EMULATOR_CORE_BLOCK_H
#define CUDA_EMULATOR_CORE_BLOCK_H

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "../emulator.h"
#include "../include/device_calls.h"
#include "fiber.h"
#include "shared_shadow.h"
#include "warp.h"

namespace cuda_emulator {

constexpr unsigned kWarpSize = 32;

// A cp.async that has been started and not yet waited for.
struct AsyncCopy {
  std::uintptr_t shared;
  unsigned bytes;
  const void* global;  // null: zeros
  unsigned group;
};

struct Thread {
  void* stack_pointer;
  unsigned index;
  Index3 position;
  bool has_waited;            // for the kernels before this one
  bool finished;
  const char* waits_for;      // what a parked thread is at, for the report of a deadlock
  const char* file;
  int line;
  std::vector<AsyncCopy> copies;
  unsigned open_group;        // the number of the group that cp.async copies join now
};

class Block {
 public:
  // The block whose threads are running. There is one a process: kernels take turns.
  static Block& running() {
    static auto& block = *new Block;  // never destroyed: kernels may run at any time
    return block;
  }

  // Runs all threads of one block to their end. False after a fault, which `failure` describes.
  bool run(const Launch& launch, void** arguments, Index3 position, std::mt19937_64& random);

  Thread& current() { return *current_; }
  Warp& warp_of(const Thread& thread) { return warps_[thread.index / kWarpSize]; }
  Thread& thread(unsigned index) { return threads_[index]; }
  const Launch& launch() const { return *launch_; }
  Index3 position() const { return position_; }
  unsigned thread_count() const { return thread_count_; }
  SharedShadow& shared() { return shared_; }
  const FiberStacks& stacks() const { return stacks_; }

  std::uint64_t now() const { return now_; }
  // Everything so far lies at or before the time that is returned, everything later after it.
  std::uint64_t tick() { return now_++; }
  std::uint64_t started_at() const { return started_at_; }
  std::uint64_t synchronized_at() const { return synchronized_at_; }

  // Lets the other threads run until one of them calls wake(). The strings name the wait.
  void park(const char* waits_for, const char* file, int line);
  void wake(Thread& thread);

  int arrive_at_barrier(BarrierKind kind, int predicate, const char* file, int line);

  // Ends the kernel. `code` is the place in the kernel, if known. Never returns to the thread.
  [[noreturn]] void fail(Fault fault, const std::string& message, const void* code = nullptr);

  // The fault that ended run().
  Fault fault() const { return fault_; }
  const std::string& failure() const { return failure_; }
  const void* failure_code() const { return failure_code_; }

 private:
  struct Barrier {
    unsigned arrived = 0;
    unsigned count = 0;  // of true predicates
    int result = 0;
    BarrierKind kind = BarrierKind::kPlain;
    const char* file = nullptr;
    int line = 0;
  };

  static void thread_main();
  void start(std::mt19937_64& random);
  [[noreturn]] void finish_thread();
  [[noreturn]] void leave();
  Thread* next_ready();
  std::string describe_deadlock() const;

  FiberStacks stacks_;
  SharedShadow shared_;
  std::vector<Thread> threads_ = std::vector<Thread>(FiberStacks::kCount);
  std::vector<Warp> warps_ = std::vector<Warp>(FiberStacks::kCount / kWarpSize);
  Barrier barrier_;

  std::vector<unsigned> ready_ = std::vector<unsigned>(FiberStacks::kCount);  // a ring
  unsigned ready_head_ = 0;
  unsigned ready_count_ = 0;

  const Launch* launch_ = nullptr;
  void** arguments_ = nullptr;
  Index3 position_{};
  unsigned thread_count_ = 0;
  unsigned finished_ = 0;
  Thread* current_ = nullptr;
  void* launcher_stack_ = nullptr;

  std::uint64_t now_ = 1;
  std::uint64_t started_at_ = 0;
  std::uint64_t synchronized_at_ = 0;

  bool failed_ = false;
  Fault fault_ = Fault::kLaunchFailure;
  std::string failure_;
  const void* failure_code_ = nullptr;
};

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_BLOCK_H
