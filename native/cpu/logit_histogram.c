// Histograms for the radix search of a top-k or top-p threshold, and single logits by id.
#include <math.h>

#include "pool.h"
#include "simd.h"

enum { SKIP = 0, COUNT = 1, MASS = 2, BINS = 256 };

typedef struct {
  double* histogram;
  const float* logits;
  int64_t stride;
  int32_t size;
  int32_t round;
  const int32_t* modes;
  const uint32_t* prefixes;
  const float* thresholds;
  const float* maxima;
  const float* temperatures;
} logit_histogram;

// Unsigned integers in the order of the floats that they stand for.
static inline uint32_t ordered_key(uint32_t bits) {
  return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

// floor(exp((x - maximum) / temperature) * 2^30), at most 2^30; 0 where that is no number.
static inline void masses(f32x16 x, float maximum, float temperature, float* out) {
  const f32x16 scaled =
      f32x16_div(f32x16_sub(x, f32x16_set1(maximum)), f32x16_set1(temperature));
  const f32x16 mass = f32x16_mul(f32x16_exp(scaled), f32x16_set1(0x1p30f));
  f32x16_store(out, f32x16_min(f32x16_max(mass, f32x16_zero()), f32x16_set1(0x1p30f)));
}

static void count_row(const logit_histogram* a, int64_t row) {
  double* histogram = a->histogram + row * BINS;
  memset(histogram, 0, BINS * sizeof(double));
  if (a->modes[row] == SKIP) return;

  const int shift = 24 - 8 * a->round;
  const uint32_t known = a->round == 0 ? 0 : 0xffffffffu << (shift + 8);
  const uint32_t prefix = a->prefixes[row] & known;
  uint64_t bins[BINS] = {0};
  const float* logits = a->logits + row * a->stride;
  for (int64_t column = 0; column < a->size; column += 16) {
    const int n = a->size - column < 16 ? (int)(a->size - column) : 16;
    const f32x16 x = f32x16_max(f32x16_load_n(logits + column, n), f32x16_set1(-INFINITY));
    uint32_t taken = mask16_bits(f32x16_ge(x, f32x16_set1(a->thresholds[row]))) & ((1u << n) - 1);
    float numbers[16];
    uint32_t keys[16], agree = 0;
    f32x16_store(numbers, x);
    memcpy(keys, numbers, sizeof keys);
    for (int i = 0; i < 16; i++) keys[i] = ordered_key(keys[i]);
    for (int i = 0; i < 16; i++) agree |= (uint32_t)((keys[i] & known) == prefix) << i;
    if ((taken &= agree) == 0) continue;

    float mass[16];
    if (a->modes[row] == MASS) masses(x, a->maxima[row], a->temperatures[row], mass);
    for (; taken != 0; taken &= taken - 1) {
      const int i = __builtin_ctz(taken);
      bins[keys[i] >> shift & (BINS - 1)] += a->modes[row] == MASS ? (uint64_t)mass[i] : 1;
    }
  }
  for (int i = 0; i < BINS; i++) histogram[i] = (double)bins[i];
}

static void count_rows(void* context, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) count_row(context, row);
}

// Fills histogram [rows][256] with counts (mode 1) or masses (mode 2) of the logits that are at least
// thresholds[t] and whose ordered key agrees with prefixes[t] in its top 8 * round bits, by the next 8
// bits of the key; with zeros in mode 0. NaN counts as -inf.
void weft_logit_histogram(weft_pool* pool, double* histogram, const float* logits, int32_t stride,
                          int32_t rows, int32_t size, int32_t round, const int32_t* modes,
                          const uint32_t* prefixes, const float* thresholds, const float* maxima,
                          const float* temperatures) {
  logit_histogram a = {histogram, logits,   stride,     size,   round,
                       modes,     prefixes, thresholds, maxima, temperatures};
  weft_pool_run(pool, count_rows, &a, rows, 1);
}

// values[t] = logits[t, ids[t] - first_id], or -inf where the id is not among the row's `size`.
void weft_gather_logits(float* values, const float* logits, int32_t stride, const int32_t* ids,
                        int32_t rows, int32_t size, int32_t first_id) {
  for (int64_t row = 0; row < rows; row++) {
    const int64_t column = (int64_t)ids[row] - first_id;
    values[row] = column >= 0 && column < size ? logits[row * stride + column] : -INFINITY;
  }
}
