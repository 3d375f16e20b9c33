// Histograms for the radix search of a top-k or top-p threshold, and single logits by id.
#include <math.h>

#include "ordered_key.h"
#include "pool.h"
#include "simd.h"

enum { COUNT = 1, MASS = 2, BINS = 256 };

typedef struct {
  double* histogram;
  const float* logits;
  int64_t stride;
  int32_t size;
  int32_t round;
  int32_t kind;
  const double* shares;
  const uint32_t* prefixes;
  const float* thresholds;
  const float* stats;
  const float* temperatures;
} logit_histogram;

// Consecutive lanes add to separate histograms, so that equal bins do not wait for one another.
enum { COPIES = 4 };

enum { MINUS_INFINITY_KEY = 0x007fffff, MINUS_ZERO_KEY = 0x7fffffff };
#define INFINITY_KEY 0xff800000u

// The first and last of the numbers whose keys agree with `prefix` in their top 8 * round bits; false
// where there is none. -0 is none: it counts as 0.
static int prefix_range(uint32_t prefix, int round, float* first, float* last) {
  const uint32_t rest = round == 0 ? 0xffffffffu : 0xffffffffu >> (8 * round);
  uint32_t low = prefix & ~rest, high = prefix | rest;
  if (low < MINUS_INFINITY_KEY) low = MINUS_INFINITY_KEY;
  if (high > INFINITY_KEY) high = INFINITY_KEY;
  if (high == MINUS_ZERO_KEY) high--;
  *first = from_ordered_key(low);
  *last = from_ordered_key(high);
  return low <= high;
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
  if (a->shares[row] == 0) return;

  const int shift = 24 - 8 * a->round, kind = a->kind;
  float first, last;
  if (!prefix_range(a->prefixes[row], a->round, &first, &last)) return;
  const f32x16 low = f32x16_set1(first > a->thresholds[row] ? first : a->thresholds[row]);
  const f32x16 high = f32x16_set1(last);
  uint64_t bins[COPIES][BINS] = {{0}};
  const float* logits = a->logits + row * a->stride;
  for (int64_t column = 0; column < a->size; column += 16) {
    const int n = a->size - column < 16 ? (int)(a->size - column) : 16;
    // NaN becomes -inf, -0 becomes 0.
    const f32x16 number = f32x16_max(f32x16_load_n(logits + column, n), f32x16_set1(-INFINITY));
    const f32x16 x = f32x16_add(number, f32x16_zero());
    uint32_t taken = mask16_bits(f32x16_ge(x, low)) & mask16_bits(f32x16_le(x, high));
    if ((taken &= (1u << n) - 1) == 0) continue;

    float lanes[16], mass[16];
    uint32_t keys[16];
    f32x16_store(lanes, x);
    memcpy(keys, lanes, sizeof keys);
    for (int i = 0; i < 16; i++) keys[i] = ordered_key(keys[i]) >> shift & (BINS - 1);
    if (kind == MASS) masses(x, a->stats[2 * row], a->temperatures[row], mass);
    for (; taken != 0; taken &= taken - 1) {
      const int i = __builtin_ctz(taken);
      bins[i % COPIES][keys[i]] += kind == MASS ? (uint64_t)mass[i] : 1;
    }
  }
  for (int i = 0; i < BINS; i++) {
    histogram[i] = (double)(bins[0][i] + bins[1][i] + bins[2][i] + bins[3][i]);
  }
}

static void count_rows(void* context, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) count_row(context, row);
}

// Fills histogram [rows][256] with counts (kind 1) or masses (kind 2) of the logits that are at least
// thresholds[t] and whose ordered key agrees with prefixes[t] in its top 8 * round bits, by the next 8
// bits of the key; with zeros where the row's share is 0. NaN counts as -inf, and -0 as 0.
void weft_logit_histogram(weft_pool* pool, double* histogram, const float* logits, int32_t stride,
                          int32_t rows, int32_t size, int32_t round, int32_t kind,
                          const double* shares, const uint32_t* prefixes, const float* thresholds,
                          const float* stats, const float* temperatures) {
  logit_histogram a = {histogram, logits,   stride,     size,  round,       kind,
                       shares,    prefixes, thresholds, stats, temperatures};
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
