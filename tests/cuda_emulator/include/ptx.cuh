// The twin of native/cuda/ptx.cuh: the same names with the same meaning, for kernels that run under
// the emulator. What each does is said there; how it is checked, in core/.
#ifndef WEFT_PTX_CUH
#define WEFT_PTX_CUH

inline unsigned char* shared_memory() { return ::cuda_emulator::dynamic_shared_memory(); }

inline void pdl_wait() { ::cuda_emulator::programmatic_wait(); }

// Kernels run one after another here, so that nothing can start early.
inline void pdl_launch_dependents() {}

inline float bf16_to_f32(unsigned short bits) {
  return __uint_as_float(static_cast<unsigned>(bits) << 16);
}

inline unsigned short f32_to_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  if (isnan(value)) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline unsigned f32x2_to_bf16x2(float low, float high) {
  return f32_to_bf16(low) | static_cast<unsigned>(f32_to_bf16(high)) << 16;
}

inline float f16_to_f32(unsigned short bits) { return ::cuda_emulator::widen_f16(bits); }

inline unsigned short f32_to_f16(float value) { return ::cuda_emulator::narrow_f16(value); }

inline unsigned f32x2_to_f16x2(float low, float high) {
  return f32_to_f16(low) | static_cast<unsigned>(f32_to_f16(high)) << 16;
}

// Rounded once where f32 holds the exact sum, as it does for small integers.
inline unsigned fma_bf16x2(unsigned a, unsigned b, unsigned c) {
  unsigned bits = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const auto value = [shift](unsigned pair) -> double {
      return bf16_to_f32(static_cast<unsigned short>(pair >> shift));
    };
    const float sum = static_cast<float>(value(a) * value(b) + value(c));
    bits |= static_cast<unsigned>(f32_to_bf16(sum)) << shift;
  }
  return bits;
}

// Rounded once where f32 holds the exact sum.
inline unsigned add_f16x2(unsigned a, unsigned b) {
  unsigned bits = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const float sum = f16_to_f32(static_cast<unsigned short>(a >> shift)) +
                      f16_to_f32(static_cast<unsigned short>(b >> shift));
    bits |= static_cast<unsigned>(f32_to_f16(sum)) << shift;
  }
  return bits;
}

// The exact function, but for the subnormal results that the instruction flushes.
inline float fast_exp2(float value) {
  const float power = exp2f(value);
  return power < 0x1p-126f ? 0.0f : power;
}

inline void prefetch_l2(const void*, unsigned) {}

inline void cp_async16_or_zero(void* shared, const void* global, bool in_range) {
  ::cuda_emulator::copy_async(shared, global, 16, in_range);
}

inline void cp_async4_or_zero(void* shared, const void* global, bool in_range) {
  ::cuda_emulator::copy_async(shared, global, 4, in_range);
}

inline void cp_async_commit() { ::cuda_emulator::commit_copies(); }

template <int N>
inline void cp_async_wait() {
  ::cuda_emulator::wait_for_copies(N);
}

inline void ldmatrix_x4(unsigned (&r)[4], const void* shared) {
  ::cuda_emulator::load_matrices(r, shared, false);
}

inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) {
  ::cuda_emulator::load_matrices(r, shared, true);
}

inline void mma_bf16_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  ::cuda_emulator::multiply_accumulate(::cuda_emulator::FactorType::kBf16, d, a, b);
}

inline void mma_f16_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  ::cuda_emulator::multiply_accumulate(::cuda_emulator::FactorType::kF16, d, a, b);
}

#endif  // WEFT_PTX_CUH
