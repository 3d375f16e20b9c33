#include "shared_shadow.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "block.h"
#include "describe.h"

namespace cuda_emulator {

namespace {

void* map_pages(std::size_t bytes) {
  void* pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    std::perror("[cuda emulator] cannot map shared memory");
    std::abort();
  }
  return pages;
}

// What the current thread knows to lie before it.
class Order {
 public:
  explicit Order(Block& block)
      : thread_(block.current().index),
        warp_(thread_ / kWarpSize),
        everybody_(block.synchronized_at()),
        own_warp_(block.warp_of(block.current()).synchronized_at) {}

  bool has_before(Stamp stamp) const {
    if (stamp.time() <= everybody_ || stamp.thread() == thread_) return true;
    return stamp.thread() / kWarpSize == warp_ && stamp.time() <= own_warp_;
  }

 private:
  unsigned thread_;
  unsigned warp_;
  std::uint64_t everybody_;
  std::uint64_t own_warp_;
};

[[noreturn]] void fail_race(Block& block, std::size_t offset, const char* now, const char* before,
                            Stamp other, const void* code) {
  block.fail(Fault::kLaunchFailure,
             "Race on byte " + std::to_string(offset) + " of shared memory: " +
                 describe(block.current().position) + " " + now + " it, " +
                 describe(block.thread(other.thread()).position) + " " + before +
                 " it, and no barrier lies between them",
             code);
}

}  // namespace

SharedShadow::SharedShadow()
    : region_(reinterpret_cast<std::uintptr_t>(map_pages(kRegion))),
      memory_(reinterpret_cast<unsigned char*>(region_ + kGuard)),
      cells_(static_cast<Cell*>(map_pages(kCapacity * sizeof(Cell)))) {}

void SharedShadow::check_bounds(std::uintptr_t address, std::size_t bytes, const void* code) const {
  Block& block = Block::running();
  const std::size_t size = block.launch().shared_bytes;
  const std::size_t offset = address - reinterpret_cast<std::uintptr_t>(memory_);
  if (offset <= size && bytes <= size - offset) return;
  block.fail(Fault::kIllegalAddress,
             "Access of " + std::to_string(bytes) + " bytes at byte " +
                 std::to_string(static_cast<std::ptrdiff_t>(offset)) +
                 " of shared memory, of which the launch gives " + std::to_string(size),
             code);
}

void SharedShadow::check(std::uintptr_t address, std::size_t bytes, Access access,
                         const void* code) {
  check_bounds(address, bytes, code);
  Block& block = Block::running();
  const Order order(block);
  const Stamp stamp(block.now(), block.current().index);
  const bool atomic = access == Access::kAtomic;
  for (std::size_t i = 0; i < bytes; i++) {
    Cell& touched = cell(address + i);
    const std::size_t offset = address + i - reinterpret_cast<std::uintptr_t>(memory_);
    const Stamp written = touched.write;
    if (written.is_pending() && written.time() > block.started_at()) {
      block.fail(Fault::kLaunchFailure,
                 "Access to byte " + std::to_string(offset) +
                     " of shared memory while an asynchronous copy to it, started by " +
                     describe(block.thread(written.thread()).position) +
                     ", is under way: a wait for the copy is missing",
                 code);
    }
    if (access != Access::kWrite && written.time() <= block.started_at()) {
      block.fail(Fault::kLaunchFailure,
                 "Read of byte " + std::to_string(offset) +
                     " of shared memory, which nobody has written",
                 code);
    }
    if (!order.has_before(written) && !(atomic && written.is_atomic())) {
      fail_race(block, offset, access == Access::kRead ? "reads" : "writes", "wrote", written,
                code);
    }
    if (access == Access::kRead) {
      Stamp& first = touched.reads[0];
      Stamp& second = touched.reads[1];
      if (order.has_before(first)) {
        first = stamp;
      } else if (order.has_before(second) || first.thread() / kWarpSize != stamp.thread() / kWarpSize) {
        second = stamp;
      }
      continue;
    }
    for (const Stamp read : touched.reads) {
      if (!order.has_before(read)) fail_race(block, offset, "writes", "read", read, code);
    }
    touched.write = atomic ? stamp.atomic() : stamp;
  }
}

void SharedShadow::begin_copy(std::uintptr_t address, std::size_t bytes, const void* code) {
  check(address, bytes, Access::kWrite, code);
  for (std::size_t i = 0; i < bytes; i++) {
    Cell& touched = cell(address + i);
    touched.write = touched.write.pending();
  }
}

void SharedShadow::end_copy(std::uintptr_t address, std::size_t bytes, const std::uint8_t* written,
                            Stamp stamp) {
  for (std::size_t i = 0; i < bytes; i++) {
    cell(address + i).write = written == nullptr || written[i] != 0 ? stamp : Stamp();
  }
}

}  // namespace cuda_emulator
