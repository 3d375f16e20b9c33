// CUDA's vector types, with its alignments.
#ifndef CUDA_EMULATOR_CUDA_TYPES_H
#define CUDA_EMULATOR_CUDA_TYPES_H

#define VECTOR_OF_2(NAME, ELEMENT, ALIGNMENT)                              \
  struct __align__(ALIGNMENT) NAME {                                       \
    ELEMENT x, y;                                                          \
  };                                                                       \
  inline NAME make_##NAME(ELEMENT x, ELEMENT y) { return {x, y}; }

#define VECTOR_OF_3(NAME, ELEMENT)                                         \
  struct NAME {                                                            \
    ELEMENT x, y, z;                                                       \
  };                                                                       \
  inline NAME make_##NAME(ELEMENT x, ELEMENT y, ELEMENT z) { return {x, y, z}; }

#define VECTOR_OF_4(NAME, ELEMENT, ALIGNMENT)                              \
  struct __align__(ALIGNMENT) NAME {                                       \
    ELEMENT x, y, z, w;                                                    \
  };                                                                       \
  inline NAME make_##NAME(ELEMENT x, ELEMENT y, ELEMENT z, ELEMENT w) { return {x, y, z, w}; }

VECTOR_OF_2(char2, signed char, 2)
VECTOR_OF_4(char4, signed char, 4)
VECTOR_OF_2(uchar2, unsigned char, 2)
VECTOR_OF_4(uchar4, unsigned char, 4)
VECTOR_OF_2(short2, short, 4)
VECTOR_OF_4(short4, short, 8)
VECTOR_OF_2(ushort2, unsigned short, 4)
VECTOR_OF_4(ushort4, unsigned short, 8)
VECTOR_OF_2(int2, int, 8)
VECTOR_OF_3(int3, int)
VECTOR_OF_4(int4, int, 16)
VECTOR_OF_2(uint2, unsigned, 8)
VECTOR_OF_3(uint3, unsigned)
VECTOR_OF_4(uint4, unsigned, 16)
VECTOR_OF_2(float2, float, 8)
VECTOR_OF_3(float3, float)
VECTOR_OF_4(float4, float, 16)
VECTOR_OF_2(double2, double, 16)
VECTOR_OF_2(longlong2, long long, 16)
VECTOR_OF_2(ulonglong2, unsigned long long, 16)

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

#undef VECTOR_OF_2
#undef VECTOR_OF_3
#undef VECTOR_OF_4

#endif  // CUDA_EMULATOR_CUDA_TYPES_H
