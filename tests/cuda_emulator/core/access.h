// The check that every access of a kernel to memory passes. It returns when the access is allowed,
// having recorded it, and ends the kernel when it is not.
#ifndef CUDA_EMULATOR_CORE_ACCESS_H
#define CUDA_EMULATOR_CORE_ACCESS_H

#include <cstddef>
#include <cstdint>

#include "shared_shadow.h"

namespace cuda_emulator {

// `code` is the place in the kernel that makes the access.
void check_access(const void* address, std::size_t bytes, Access access, const void* code);

// As check_access for global memory, but without looking at whether the bytes have been written.
void check_source(const void* address, std::size_t bytes, const void* code);

// Ends the kernel unless the address is a multiple of `alignment`.
void check_alignment(const void* address, std::size_t alignment, const void* code);

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_CORE_ACCESS_H
