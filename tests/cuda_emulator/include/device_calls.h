// The calls that compiled kernels make into the emulator's core. The headers beside this one give
// them the names and types of CUDA; they are compiled into kernels, so nothing is included here.
#ifndef CUDA_EMULATOR_DEVICE_CALLS_H
#define CUDA_EMULATOR_DEVICE_CALLS_H

namespace cuda_emulator {

struct Index3 {
  unsigned x, y, z;
};

// Constant for a thread, so the compiler may ask once.
Index3 thread_index() __attribute__((const));
Index3 block_index() __attribute__((const));
Index3 block_dimensions() __attribute__((const));
Index3 grid_dimensions() __attribute__((const));
unsigned char* dynamic_shared_memory() __attribute__((const));

void programmatic_wait();

// Barriers of the block. `line` names the barrier: all threads of the block have to be at the same.
enum class BarrierKind { kPlain, kCount, kAnd, kOr };
int synchronize_block(BarrierKind kind, int predicate, const char* file, int line);

// Operations of the lanes in `mask`. Each returns when all these lanes have called it.
enum class ShuffleKind { kIndex, kUp, kDown, kXor };
void synchronize_warp(unsigned mask, const char* file, int line);
unsigned long long shuffle(ShuffleKind kind, unsigned mask, unsigned long long value,
                           unsigned operand, unsigned width, const char* file, int line);
unsigned ballot(unsigned mask, bool predicate, const char* file, int line);
unsigned lanes_alive();

enum class AtomicKind { kAdd, kAddFloat, kAddDouble, kMin, kMax, kMinSigned, kMaxSigned, kAnd, kOr,
                        kXor, kExchange, kCompareAndSwap };
// Does the operation on the 4 or 8 bytes at `address`; returns the bits that were there before.
unsigned long long atomic(AtomicKind kind, void* address, unsigned bytes,
                          unsigned long long operand, unsigned long long expected);

// Asynchronous copies (async_copy.cpp).
void copy_async(void* shared, const void* global, unsigned bytes, bool in_range);
void commit_copies();
void wait_for_copies(unsigned newest_under_way);

// Tensor cores (tensor_core.cpp).
enum class FactorType { kBf16, kF16 };
void load_matrices(unsigned* registers, const void* shared, bool transposed);
void multiply_accumulate(FactorType type, float* d, const unsigned* a, const unsigned* b);

// Conversions, rounding to nearest even (conversions.cpp).
float widen_f16(unsigned short bits) __attribute__((const));
unsigned short narrow_f16(float value) __attribute__((const));

[[noreturn]] void trap();
[[noreturn]] void fail_assertion(const char* expression, const char* file, int line);
unsigned long long clock_ticks();

}  // namespace cuda_emulator

#endif  // CUDA_EMULATOR_DEVICE_CALLS_H
