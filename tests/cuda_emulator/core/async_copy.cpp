// cp.async: copies that are done as late as the program allows, when the thread waits for their
// group, so that a missing wait shows.
#include <cstring>

#include "access.h"
#include "block.h"
#include "memory.h"

namespace cuda_emulator {

namespace {

void finish_copy(Block& block, const AsyncCopy& copy) {
  auto* destination = reinterpret_cast<void*>(copy.shared);
  const Stamp stamp(block.now(), block.current().index);
  if (copy.global == nullptr) {
    std::memset(destination, 0, copy.bytes);
    block.shared().end_copy(copy.shared, copy.bytes, nullptr, stamp);
    return;
  }
  std::memcpy(destination, copy.global, copy.bytes);
  const auto source = reinterpret_cast<std::uintptr_t>(copy.global);
  const Arena& arena = Arena::instance();
  block.shared().end_copy(copy.shared, copy.bytes,
                          arena.contains(source) ? arena.shadow_of(source) : nullptr, stamp);
}

}  // namespace

void copy_async(void* shared, const void* global, unsigned bytes, bool in_range) {
  const void* code = __builtin_return_address(0);
  Block& block = Block::running();
  check_alignment(shared, bytes, code);
  if (in_range) {
    check_alignment(global, bytes, code);
    check_source(global, bytes, code);
  }
  const auto destination = reinterpret_cast<std::uintptr_t>(shared);
  block.shared().begin_copy(destination, bytes, code);
  Thread& thread = block.current();
  thread.copies.push_back({destination, bytes, in_range ? global : nullptr, thread.open_group});
}

void commit_copies() { Block::running().current().open_group++; }

void wait_for_copies(unsigned newest_under_way) {
  Block& block = Block::running();
  Thread& thread = block.current();
  if (thread.open_group < newest_under_way) return;
  const unsigned first_under_way = thread.open_group - newest_under_way;
  std::size_t done = 0;
  while (done < thread.copies.size() && thread.copies[done].group < first_under_way) {
    finish_copy(block, thread.copies[done]);
    done++;
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<long>(done));
}

}  // namespace cuda_emulator
