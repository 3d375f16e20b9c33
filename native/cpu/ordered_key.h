// Unsigned integers in the order of the floats that they stand for, and back.
#ifndef WEFT_ORDERED_KEY_H
#define WEFT_ORDERED_KEY_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ordered_key(uint32_t bits) {
  return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

static inline float from_ordered_key(uint32_t key) {
  const uint32_t bits = key & 0x80000000u ? key ^ 0x80000000u : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

#endif
