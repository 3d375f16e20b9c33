#include "block.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "describe.h"

namespace cuda_emulator {

bool Block::run(const Launch& launch, void** arguments, Index3 position, std::mt19937_64& random) {
  launch_ = &launch;
  arguments_ = arguments;
  position_ = position;
  thread_count_ = launch.block[0] * launch.block[1] * launch.block[2];
  failed_ = false;
  start(random);
  current_ = next_ready();
  cuda_emulator_switch_stack(&launcher_stack_, current_->stack_pointer);
  return !failed_;
}

void Block::start(std::mt19937_64& random) {
  finished_ = 0;
  ready_head_ = 0;
  ready_count_ = 0;
  barrier_ = {};
  started_at_ = tick();
  synchronized_at_ = started_at_;
  const unsigned warp_count = (thread_count_ + kWarpSize - 1) / kWarpSize;
  unsigned order[FiberStacks::kCount / kWarpSize];
  std::iota(order, order + warp_count, 0u);
  std::shuffle(order, order + warp_count, random);
  for (unsigned i = 0; i < warp_count; i++) {
    warps_[order[i]].gatherings.clear();
    warps_[order[i]].synchronized_at = started_at_;
    const unsigned first = order[i] * kWarpSize;
    for (unsigned index = first; index < std::min(first + kWarpSize, thread_count_); index++) {
      Thread& thread = threads_[index];
      thread.stack_pointer = stacks_.prepare(index, thread_main);
      thread.index = index;
      thread.position = {index % launch_->block[0], index / launch_->block[0] % launch_->block[1],
                         index / (launch_->block[0] * launch_->block[1])};
      thread.has_waited = false;
      thread.finished = false;
      thread.waits_for = nullptr;
      thread.copies.clear();
      thread.open_group = 0;
      wake(thread);
    }
  }
}

// The first frame of every fiber.
void Block::thread_main() {
  Block& block = running();
  block.launch_->kernel->invoke(block.arguments_);
  block.finish_thread();
}

void Block::finish_thread() {
  if (!current_->has_waited) {
    fail(Fault::kLaunchFailure,
         "A thread ends without pdl_wait(): it may have run before the kernels whose results it "
         "reads");
  }
  current_->finished = true;
  finished_++;
  if (finished_ == thread_count_) leave();
  void* unused;
  Thread* next = next_ready();
  current_ = next;
  cuda_emulator_switch_stack(&unused, next->stack_pointer);
  __builtin_unreachable();
}

void Block::leave() {
  void* unused;
  cuda_emulator_switch_stack(&unused, launcher_stack_);
  __builtin_unreachable();
}

void Block::park(const char* waits_for, const char* file, int line) {
  Thread& self = *current_;
  self.waits_for = waits_for;
  self.file = file;
  self.line = line;
  Thread* next = next_ready();
  current_ = next;
  cuda_emulator_switch_stack(&self.stack_pointer, next->stack_pointer);
  self.waits_for = nullptr;
}

void Block::wake(Thread& thread) {
  ready_[(ready_head_ + ready_count_) % ready_.size()] = thread.index;
  ready_count_++;
}

Thread* Block::next_ready() {
  if (ready_count_ == 0) fail(Fault::kLaunchFailure, describe_deadlock());
  Thread* next = &threads_[ready_[ready_head_]];
  ready_head_ = (ready_head_ + 1) % ready_.size();
  ready_count_--;
  return next;
}

// The threads that wait, by where, with one of each as example.
std::string Block::describe_deadlock() const {
  std::string text = "Threads wait for each other for ever: " + std::to_string(finished_) +
                     " have ended";
  std::vector<bool> told(thread_count_);
  for (unsigned i = 0; i < thread_count_; i++) {
    const Thread& example = threads_[i];
    if (told[i] || example.waits_for == nullptr) continue;
    unsigned count = 0;
    for (unsigned j = i; j < thread_count_; j++) {
      const Thread& other = threads_[j];
      if (other.waits_for != example.waits_for || other.file != example.file ||
          other.line != example.line) {
        continue;
      }
      told[j] = true;
      count++;
    }
    text += ", " + std::to_string(count) + " are at " + example.waits_for;
    if (example.file != nullptr) {
      text += std::string(" (") + example.file + ":" + std::to_string(example.line) + ")";
    }
    text += " as " + describe(example.position);
  }
  return text;
}

int Block::arrive_at_barrier(BarrierKind kind, int predicate, const char* file, int line) {
  if (barrier_.arrived == 0) {
    barrier_.kind = kind;
    barrier_.file = file;
    barrier_.line = line;
    barrier_.count = 0;
  } else if (barrier_.line != line || std::strcmp(barrier_.file, file) != 0) {
    fail(Fault::kLaunchFailure, std::string("Threads of a block are at different barriers: ") +
                                    file + ":" + std::to_string(line) + " and " + barrier_.file +
                                    ":" + std::to_string(barrier_.line));
  }
  barrier_.arrived++;
  if (predicate != 0) barrier_.count++;
  if (barrier_.arrived < thread_count_) {
    park("__syncthreads", file, line);
    return barrier_.result;
  }
  switch (kind) {
    case BarrierKind::kPlain: barrier_.result = 0; break;
    case BarrierKind::kCount: barrier_.result = static_cast<int>(barrier_.count); break;
    case BarrierKind::kAnd: barrier_.result = barrier_.count == thread_count_; break;
    case BarrierKind::kOr: barrier_.result = barrier_.count > 0; break;
  }
  barrier_.arrived = 0;
  synchronized_at_ = tick();
  for (unsigned i = 0; i < thread_count_; i++) {
    if (&threads_[i] != current_) wake(threads_[i]);
  }
  return barrier_.result;
}

void Block::fail(Fault fault, const std::string& message, const void* code) {
  failed_ = true;
  fault_ = fault;
  failure_ = message + "; " + describe(current_->position) + " of block " +
             coordinates(position_) + " of kernel " + launch_->kernel->name;
  failure_code_ = code;
  leave();
}

int synchronize_block(BarrierKind kind, int predicate, const char* file, int line) {
  return Block::running().arrive_at_barrier(kind, predicate, file, line);
}

Index3 thread_index() { return Block::running().current().position; }

Index3 block_index() { return Block::running().position(); }

Index3 block_dimensions() {
  const unsigned(&size)[3] = Block::running().launch().block;
  return {size[0], size[1], size[2]};
}

Index3 grid_dimensions() {
  const unsigned(&size)[3] = Block::running().launch().grid;
  return {size[0], size[1], size[2]};
}

unsigned char* dynamic_shared_memory() { return Block::running().shared().memory(); }

void programmatic_wait() { Block::running().current().has_waited = true; }

void trap() { Block::running().fail(Fault::kLaunchFailure, "__trap() was called"); }

void fail_assertion(const char* expression, const char* file, int line) {
  Block::running().fail(Fault::kLaunchFailure, std::string("Assertion failed: ") + expression +
                                                   " (" + file + ":" + std::to_string(line) + ")");
}

unsigned long long clock_ticks() { return Block::running().tick(); }

}  // namespace cuda_emulator
