// Weights of 4 and 8 bits: how they lie in memory, and how they become factors of products.
//
// The inputs of a weight come in chunks of 32: four lanes share a row, and lane t multiplies inputs 8t
// to 8t + 7 of a chunk, which are 16 bytes of 16-bit x. A lane reads 16 bytes of a row at once, its part
// of 4 chunks of int4 or 2 of int8, and four lanes together 64 bytes, a span. So a row is a sequence of
// spans, and its number of inputs is padded to a multiple of 128.
//
// Elements are stored as codes without a sign. In each word of 32 bits, inputs 2i and 2i + 1 lie 16
// bits apart, so that a mask, a shift and a sum turn both into a pair of 16-bit numbers: bits set above
// a code make it the number 2^7 (bf16) or 2^10 (f16) + code, from which the zero is taken with no error.
//
// Inputs are also cut into segments of 32, 64 or 128, all of one group of the checkpoint. A word holds
// the scale of a row's segment, and in its lowest 9 bits the segment's zero less half the range. Where
// no segment has a zero of its own, all 32 bits are the scale's. The mask of zeros tells which it is.
#ifndef WEFT_QUANTIZED_CUH
#define WEFT_QUANTIZED_CUH

#include "numbers.cuh"

namespace weft_quantized {

struct Int4 {};
struct Int8 {};

template <class F>
constexpr int kBits = 0;
template <>
inline constexpr int kBits<Int4> = 4;
template <>
inline constexpr int kBits<Int8> = 8;

// The zero of codes that are symmetric.
template <class F>
constexpr int kHalfRange = 1 << (kBits<F> - 1);

constexpr int kChunkInputs = 32;
constexpr int kLaneInputs = 8;
constexpr int kSpanBytes = 64;
template <class F>
constexpr int kSpanInputs = kSpanBytes * 8 / kBits<F>;
template <class F>
constexpr int kSpanChunks = kSpanInputs<F> / kChunkInputs;

// Inputs in a word, of which inputs 2i and 2i + 1 stand i * kBits and 16 + i * kBits from its lowest bit.
template <class F>
constexpr int kWordInputs = 32 / kBits<F>;

// Words of a chunk in a lane's vector.
template <class F>
constexpr int kChunkWords = kLaneInputs / kWordInputs<F>;

// First word of the row's inputs [input, input + 8), a multiple of 8.
template <class F>
__device__ __forceinline__ int first_word(int input) {
  const int chunk = input % kSpanInputs<F> / kChunkInputs;
  const int lane = input % kChunkInputs / kLaneInputs;
  return input / kSpanInputs<F> * (kSpanBytes / 4) + lane * 4 + chunk * kChunkWords<F>;
}

__device__ __forceinline__ void words_of(uint4 vector, unsigned (&words)[4]) {
  words[0] = vector.x;
  words[1] = vector.y;
  words[2] = vector.z;
  words[3] = vector.w;
}

__device__ __forceinline__ unsigned pair_of(unsigned value) { return value * 0x10001u; }

// The scale of a segment, and its zero less half the range.
struct Segment {
  float scale;
  int zero;
};

__device__ __forceinline__ Segment unpack_segment(unsigned word, unsigned zero_mask) {
  const int zero = static_cast<int>((word & zero_mask) << 23) >> 23;
  return {__uint_as_float(word & ~zero_mask), zero};
}

// The word of a segment: the scale keeps 15 significant bits, more than f16 and bf16 have, or all 24.
__device__ __forceinline__ unsigned pack_segment(Segment segment, unsigned zero_mask) {
  const unsigned half = (zero_mask + 1) / 2;
  const unsigned scale = (__float_as_uint(segment.scale) + half) & ~zero_mask;
  return scale | (static_cast<unsigned>(segment.zero) & zero_mask);
}

// What is added to codes of a segment that have become numbers of type T; in 16-bit types it is a pair.
template <class T, class F>
struct MinusZero;
template <class F>
struct MinusZero<float, F> {
  static __device__ __forceinline__ unsigned of(int zero) {
    return __float_as_uint(-8388608.0f - static_cast<float>(kHalfRange<F> + zero));
  }
};
template <class F>
struct MinusZero<f16, F> {
  static __device__ __forceinline__ unsigned of(int zero) {
    return 0xe400e400u + pair_of(kHalfRange<F> + zero);
  }
};
template <>
struct MinusZero<bf16, Int4> {
  static __device__ __forceinline__ unsigned of(int zero) {
    return 0xc300c300u + pair_of(kHalfRange<Int4> + zero);
  }
};
template <>
struct MinusZero<bf16, Int8> {
  static __device__ __forceinline__ unsigned of(int zero) {
    return pair_of(f32_to_bf16(static_cast<float>(-zero)));
  }
};

// Codes less their zero, exactly: pair i of a word.
template <class T, class F>
struct WordPair;
template <class F>
struct WordPair<f16, F> {
  static __device__ __forceinline__ unsigned of(unsigned word, int i, unsigned minus_zero) {
    constexpr unsigned kCodes = pair_of_codes();
    return add_f16x2((word >> (i * kBits<F>) & kCodes) | 0x64006400u, minus_zero);
  }
  static constexpr unsigned pair_of_codes() { return ((1u << kBits<F>) - 1) * 0x10001u; }
};
template <>
struct WordPair<bf16, Int4> {
  static __device__ __forceinline__ unsigned of(unsigned word, int i, unsigned minus_zero) {
    return fma_bf16x2((word >> (i * 4) & 0x000f000fu) | 0x43004300u, 0x3f803f80u, minus_zero);
  }
};
// bf16 has 7 bits behind its first: the highest bit of a code decides whether 128 or 256 is taken from
// 128 and the others.
template <>
struct WordPair<bf16, Int8> {
  static __device__ __forceinline__ unsigned of(unsigned word, int i, unsigned minus_zero) {
    const unsigned codes = word >> (i * 8);
    const unsigned low = (codes & 0x007f007fu) | 0x43004300u;
    const unsigned minus = (codes & 0x00800080u) ^ 0xc380c380u;
    const unsigned centered = fma_bf16x2(low, 0x3f803f80u, minus);
    return fma_bf16x2(centered, 0x3f803f80u, minus_zero);
  }
};

// The lane's 8 inputs of a chunk, codes less their zero, as pairs of a 16-bit type. `words` are the
// chunk's of the lane's vector.
template <class T, class F>
__device__ __forceinline__ void chunk_pairs(const unsigned* words, unsigned minus_zero,
                                            unsigned (&pairs)[4]) {
#pragma unroll
  for (int i = 0; i < 4; i++) {
    constexpr int kWordPairs = kWordInputs<F> / 2;
    pairs[i] = WordPair<T, F>::of(words[i / kWordPairs], i % kWordPairs, minus_zero);
  }
}

// The same in f32.
template <class F>
__device__ __forceinline__ void chunk_values(const unsigned* words, unsigned minus_zero,
                                             float (&values)[kLaneInputs]) {
  constexpr unsigned kCode = (1u << kBits<F>) - 1;
#pragma unroll
  for (int i = 0; i < kLaneInputs; i++) {
    const int pair = i % kWordInputs<F> / 2;
    const unsigned code = words[i / kWordInputs<F>] >> (pair * kBits<F> + i % 2 * 16) & kCode;
    values[i] = __uint_as_float(0x4b000000u | code) + __uint_as_float(minus_zero);
  }
}

}  // namespace weft_quantized

#endif  // WEFT_QUANTIZED_CUH
