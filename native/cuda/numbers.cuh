// How numbers are stored and what they are worth: all arithmetic is f32, storage is f32, bf16 or
// f16. Vectors are 16 bytes, the widest access a thread can make: 4 f32 or 8 of the 16-bit types.
#ifndef WEFT_NUMBERS_CUH
#define WEFT_NUMBERS_CUH

#include "ptx.cuh"

struct bf16 {
  unsigned short bits;
};

struct f16 {
  unsigned short bits;
};

__device__ __forceinline__ float minus_infinity() { return __uint_as_float(0xff800000u); }

// Elements in 16 bytes.
template <class T>
constexpr int kVectorSize = 16 / sizeof(T);

// The value of a stored number.
__device__ __forceinline__ float to_f32(float value) { return value; }
__device__ __forceinline__ float to_f32(bf16 value) { return bf16_to_f32(value.bits); }
__device__ __forceinline__ float to_f32(f16 value) { return f16_to_f32(value.bits); }

// The nearest number that T stores, ties to even.
template <class T>
__device__ __forceinline__ T from_f32(float value);
template <>
__device__ __forceinline__ float from_f32<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 from_f32<bf16>(float value) {
  return {f32_to_bf16(value)};
}
template <>
__device__ __forceinline__ f16 from_f32<f16>(float value) {
  return {f32_to_f16(value)};
}

// The two numbers in a register, the first from its low half.
template <class T>
__device__ __forceinline__ void unpack2(unsigned bits, float (&values)[2]);
template <>
__device__ __forceinline__ void unpack2<bf16>(unsigned bits, float (&values)[2]) {
  values[0] = __uint_as_float(bits << 16);
  values[1] = __uint_as_float(bits & 0xffff0000u);
}
template <>
__device__ __forceinline__ void unpack2<f16>(unsigned bits, float (&values)[2]) {
  values[0] = f16_to_f32(static_cast<unsigned short>(bits));
  values[1] = f16_to_f32(static_cast<unsigned short>(bits >> 16));
}

// Two numbers in a register, the first in its low half.
template <class T>
__device__ __forceinline__ unsigned pack2(float low, float high);
template <>
__device__ __forceinline__ unsigned pack2<bf16>(float low, float high) {
  return f32x2_to_bf16x2(low, high);
}
template <>
__device__ __forceinline__ unsigned pack2<f16>(float low, float high) {
  return f32x2_to_f16x2(low, high);
}

// The numbers in 16 bytes.
template <class T>
__device__ __forceinline__ void unpack16(uint4 bits, float (&values)[kVectorSize<T>]) {
  const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if constexpr (sizeof(T) == 4) {
      values[i] = __uint_as_float(words[i]);
    } else {
      float pair[2];
      unpack2<T>(words[i], pair);
      values[2 * i] = pair[0];
      values[2 * i + 1] = pair[1];
    }
  }
}

// 16 bytes that hold the numbers, rounded to T.
template <class T>
__device__ __forceinline__ uint4 pack16(const float (&values)[kVectorSize<T>]) {
  unsigned words[4];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if constexpr (sizeof(T) == 4) {
      words[i] = __float_as_uint(values[i]);
    } else {
      words[i] = pack2<T>(values[2 * i], values[2 * i + 1]);
    }
  }
  return {words[0], words[1], words[2], words[3]};
}

// Reads a vector from an address aligned to 16.
template <class T>
__device__ __forceinline__ void load16(const T* address, float (&values)[kVectorSize<T>]) {
  unpack16<T>(*reinterpret_cast<const uint4*>(address), values);
}

// Writes a vector to an address aligned to 16.
template <class T>
__device__ __forceinline__ void store16(T* address, const float (&values)[kVectorSize<T>]) {
  *reinterpret_cast<uint4*>(address) = pack16<T>(values);
}

#endif  // WEFT_NUMBERS_CUH
