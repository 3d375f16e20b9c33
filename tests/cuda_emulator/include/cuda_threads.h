// How CUDA's threads meet: barriers, warps, atomics. Each call passes its place in the source on, by
// which the core tells barriers apart and names them.
#ifndef CUDA_EMULATOR_CUDA_THREADS_H
#define CUDA_EMULATOR_CUDA_THREADS_H

#define CALLER const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(CALLER) {
  ::cuda_emulator::synchronize_block(::cuda_emulator::BarrierKind::kPlain, 0, file, line);
}
inline int __syncthreads_count(int predicate, CALLER) {
  return ::cuda_emulator::synchronize_block(::cuda_emulator::BarrierKind::kCount, predicate, file,
                                            line);
}
inline int __syncthreads_and(int predicate, CALLER) {
  return ::cuda_emulator::synchronize_block(::cuda_emulator::BarrierKind::kAnd, predicate, file,
                                            line);
}
inline int __syncthreads_or(int predicate, CALLER) {
  return ::cuda_emulator::synchronize_block(::cuda_emulator::BarrierKind::kOr, predicate, file,
                                            line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, CALLER) {
  ::cuda_emulator::synchronize_warp(mask, file, line);
}

template <class T>
inline T weft_shuffle(::cuda_emulator::ShuffleKind kind, unsigned mask, T value, unsigned operand,
                      int width, const char* file, int line) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  if constexpr (sizeof(T) == 4) {
    return weft_bit_cast<T>(static_cast<unsigned>(::cuda_emulator::shuffle(
        kind, mask, weft_bit_cast<unsigned>(value), operand, static_cast<unsigned>(width), file,
        line)));
  } else {
    return weft_bit_cast<T>(::cuda_emulator::shuffle(kind, mask,
                                                     weft_bit_cast<unsigned long long>(value),
                                                     operand, static_cast<unsigned>(width), file,
                                                     line));
  }
}
template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, CALLER) {
  return weft_shuffle(::cuda_emulator::ShuffleKind::kIndex, mask, value,
                      static_cast<unsigned>(lane), width, file, line);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, CALLER) {
  return weft_shuffle(::cuda_emulator::ShuffleKind::kUp, mask, value, delta, width, file, line);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, CALLER) {
  return weft_shuffle(::cuda_emulator::ShuffleKind::kDown, mask, value, delta, width, file, line);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, CALLER) {
  return weft_shuffle(::cuda_emulator::ShuffleKind::kXor, mask, value,
                      static_cast<unsigned>(lanes), width, file, line);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CALLER) {
  return ::cuda_emulator::ballot(mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, CALLER) {
  return ::cuda_emulator::ballot(mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, CALLER) {
  return ::cuda_emulator::ballot(mask, predicate == 0, file, line) == 0;
}
inline unsigned __activemask() { return ::cuda_emulator::lanes_alive(); }

#undef CALLER

template <bool wide>
struct WeftBits {
  using type = unsigned;
};
template <>
struct WeftBits<true> {
  using type = unsigned long long;
};

template <class T>
inline T weft_atomic(::cuda_emulator::AtomicKind kind, T* address, T operand, T expected = T()) {
  using Bits = typename WeftBits<sizeof(T) == 8>::type;
  return weft_bit_cast<T>(static_cast<Bits>(
      ::cuda_emulator::atomic(kind, address, sizeof(T), weft_bit_cast<Bits>(operand),
                              weft_bit_cast<Bits>(expected))));
}

#define ATOMIC(NAME, TYPE, KIND)                                                \
  inline TYPE NAME(TYPE* address, TYPE operand) {                               \
    return weft_atomic(::cuda_emulator::AtomicKind::KIND, address, operand);    \
  }
#define ATOMIC_CAS(TYPE)                                                                     \
  inline TYPE atomicCAS(TYPE* address, TYPE expected, TYPE value) {                          \
    return weft_atomic(::cuda_emulator::AtomicKind::kCompareAndSwap, address, value, expected); \
  }
ATOMIC(atomicAdd, int, kAdd)
ATOMIC(atomicAdd, unsigned, kAdd)
ATOMIC(atomicAdd, unsigned long long, kAdd)
ATOMIC(atomicAdd, float, kAddFloat)
ATOMIC(atomicAdd, double, kAddDouble)
ATOMIC(atomicMin, int, kMinSigned)
ATOMIC(atomicMin, unsigned, kMin)
ATOMIC(atomicMin, long long, kMinSigned)
ATOMIC(atomicMin, unsigned long long, kMin)
ATOMIC(atomicMax, int, kMaxSigned)
ATOMIC(atomicMax, unsigned, kMax)
ATOMIC(atomicMax, long long, kMaxSigned)
ATOMIC(atomicMax, unsigned long long, kMax)
ATOMIC(atomicAnd, int, kAnd)
ATOMIC(atomicAnd, unsigned, kAnd)
ATOMIC(atomicOr, int, kOr)
ATOMIC(atomicOr, unsigned, kOr)
ATOMIC(atomicXor, int, kXor)
ATOMIC(atomicXor, unsigned, kXor)
ATOMIC(atomicExch, int, kExchange)
ATOMIC(atomicExch, unsigned, kExchange)
ATOMIC(atomicExch, unsigned long long, kExchange)
ATOMIC(atomicExch, float, kExchange)
ATOMIC_CAS(int)
ATOMIC_CAS(unsigned)
ATOMIC_CAS(unsigned long long)
#undef ATOMIC
#undef ATOMIC_CAS
inline int atomicSub(int* address, int operand) { return atomicAdd(address, -operand); }
inline unsigned atomicSub(unsigned* address, unsigned operand) {
  return atomicAdd(address, 0u - operand);
}

// Threads take turns, so their writes are seen in order.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}

// Hints on caching mean nothing here.
template <class T>
inline T __ldg(const T* address) {
  return *address;
}
template <class T>
inline T __ldcg(const T* address) {
  return *address;
}
template <class T>
inline T __ldcs(const T* address) {
  return *address;
}
template <class T>
inline void __stcg(T* address, T value) {
  *address = value;
}
template <class T>
inline void __stcs(T* address, T value) {
  *address = value;
}

inline void __trap() { ::cuda_emulator::trap(); }
inline long long clock64() { return static_cast<long long>(::cuda_emulator::clock_ticks()); }
#define assert(condition) \
  ((condition) ? (void)0 : ::cuda_emulator::fail_assertion(#condition, __FILE__, __LINE__))

#endif  // CUDA_EMULATOR_CUDA_THREADS_H
