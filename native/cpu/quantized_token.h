// Where the parts of a prepared token lie.
#ifndef WEFT_QUANTIZED_TOKEN_H
#define WEFT_QUANTIZED_TOKEN_H

#include "quantized.h"

// x = value * scale; `sums` are those of a segment's values.
typedef struct {
  int8_t* values;  // [places]
  float* scales;   // [num_segments]
  int32_t* sums;   // [num_segments]
} quantized_token;

static inline quantized_token quantized_token_at(char* token,
                                                 const weft_quantized_section* section) {
  char* values = token + section->token_offset;
  char* scales = values + section->places;
  return (quantized_token){(int8_t*)values, (float*)scales,
                           (int32_t*)(scales + section->num_segments * 4)};
}

// Inputs at their places in f32.
static inline float* exact_token_at(char* token, const weft_quantized_section* section) {
  return (float*)(token + section->token_offset);
}

#endif
