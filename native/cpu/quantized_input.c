// Activations as products with quantised weights read them: bytes with a scale for each segment, or
// f32 in the order of the weight's inputs.
#include <math.h>

#include "integer_dot.h"
#include "linear.h"
#include "quantized.h"
#include "quantized_token.h"

// Below it an inverse would overflow.
static const float SMALLEST = 0x1p-100f;

float weft_quantize_run(int8_t* out, const float* x, int64_t count) {
  f32x16 largest = f32x16_zero();
  uint32_t numbers = 0xffff;
  for (int64_t i = 0; i < count; i += 16) {
    const f32x16 a = f32x16_load(x + i);
    numbers &= mask16_bits(f32x16_eq(a, a));
    largest = f32x16_max(largest, f32x16_abs(a));
  }
  const float magnitude = f32x16_hmax(largest);
  const int finite = numbers == 0xffff && magnitude < INFINITY;
  if (!finite || magnitude < SMALLEST) {
    memset(out, 0, (size_t)(count + 15) / 16 * 16);
    return finite ? 0 : NAN;
  }
  const f32x16 inverse = f32x16_set1(127 / magnitude);
  for (int64_t i = 0; i < count; i += 16) {
    f32x16_store_i8(out + i, f32x16_mul(f32x16_load(x + i), inverse));
  }
  return magnitude / 127;
}

// A segment's inputs, and zeros up to a whole vector.
static void gather(float* out, const weft_quantized_section* section, int64_t segment,
                   const float* x) {
  const weft_quantized_segment s = section->segments[segment];
  if (section->order == NULL) {
    memcpy(out, x + s.first, (size_t)s.length * sizeof(float));
  } else {
    for (int i = 0; i < s.length; i++) out[i] = x[section->order[s.first + i]];
  }
  for (int i = s.length; i % 16 != 0; i++) out[i] = 0;
}

static void prepare_bytes(char* token, const weft_quantized_section* section, const float* x) {
  const quantized_token out = quantized_token_at(token, section);
  for (int64_t segment = 0; segment < section->num_segments; segment++) {
    const weft_quantized_segment s = section->segments[segment];
    const int last = segment + 1 == section->num_segments;
    const int64_t end = last ? section->places : section->segments[segment + 1].place;
    float values[WEFT_SEGMENT_INPUTS];
    int8_t bytes[WEFT_SEGMENT_INPUTS];
    gather(values, section, segment, x);
    out.scales[segment] = weft_quantize_run(bytes, values, s.length);
    int32_t sum = 0;
    for (int i = 0; i < s.length; i++) sum += bytes[i];
    out.sums[segment] = sum;
    memcpy(out.values + s.place, bytes, (size_t)s.length);
    memset(out.values + s.place + s.length, 0, (size_t)(end - s.place - s.length));
  }
}

static void prepare_floats(char* token, const weft_quantized_section* section, const float* x) {
  float* out = exact_token_at(token, section);
  for (int64_t segment = 0; segment < section->num_segments; segment++) {
    const weft_quantized_segment s = section->segments[segment];
    float values[WEFT_SEGMENT_INPUTS];
    gather(values, section, segment, x);
    memcpy(out + s.place, values, (size_t)s.length * sizeof(float));
  }
}

void weft_quantized_prepare(const weft_linear_job* job, int64_t begin, int64_t end) {
  const weft_quantized* weight = job->weight->packed;
  for (int64_t token = begin; token < end; token++) {
    char* out = job->prepared + token * job->weight->token_bytes;
    for (int64_t i = 0; i < weight->num_sections; i++) {
      const weft_quantized_section* section = &weight->sections[i];
      if (weight->exact) {
        prepare_floats(out, section, weft_linear_source(job, token));
      } else {
        prepare_bytes(out, section, weft_linear_source(job, token));
      }
    }
  }
}
