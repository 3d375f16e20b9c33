// The functions that g++ -fsanitize=thread puts before each access to memory that may be shared,
// and those that -fsanitize=alignment,bounds call after a failed check. Kernels are linked with
// these instead of the sanitizers' own libraries.
#include <cstddef>
#include <cstdint>
#include <string>

#include "access.h"
#include "block.h"

using cuda_emulator::Access;
using cuda_emulator::Block;
using cuda_emulator::check_access;
using cuda_emulator::check_alignment;
using cuda_emulator::Fault;

// The compiler promises natural alignment for the accesses of 2, 4 and 8 bytes, and for those of 16
// that it has not split; types of 16 are checked by -fsanitize=alignment, before it splits them.
#define ACCESS_OF(SIZE)                                                                     \
  extern "C" void __tsan_read##SIZE(void* address) {                                        \
    check_access(address, SIZE, Access::kRead, __builtin_return_address(0));                \
  }                                                                                         \
  extern "C" void __tsan_write##SIZE(void* address) {                                       \
    check_access(address, SIZE, Access::kWrite, __builtin_return_address(0));               \
  }

ACCESS_OF(1)
ACCESS_OF(2)
ACCESS_OF(4)
ACCESS_OF(8)
ACCESS_OF(16)

extern "C" void __tsan_read_range(void* address, std::size_t bytes) {
  check_access(address, bytes, Access::kRead, __builtin_return_address(0));
}

extern "C" void __tsan_write_range(void* address, std::size_t bytes) {
  check_access(address, bytes, Access::kWrite, __builtin_return_address(0));
}

extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}

namespace {

struct SourceLocation {
  const char* file;
  std::uint32_t line;
  std::uint32_t column;
};

struct TypeMismatch {
  SourceLocation location;
  const void* type;
  unsigned char log_alignment;
  unsigned char check_kind;
};

struct OutOfBounds {
  SourceLocation location;
  const void* array_type;
  const void* index_type;
};

}  // namespace

extern "C" void __ubsan_handle_type_mismatch_v1(const TypeMismatch* mismatch, void* address) {
  check_alignment(address, std::size_t{1} << mismatch->log_alignment, __builtin_return_address(0));
}

extern "C" void __ubsan_handle_out_of_bounds(const OutOfBounds*, void* index) {
  Block::running().fail(Fault::kLaunchFailure,
                        "Index " + std::to_string(reinterpret_cast<std::intptr_t>(index)) +
                            " is outside its array",
                        __builtin_return_address(0));
}
