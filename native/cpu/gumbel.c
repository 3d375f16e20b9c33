// Draws tokens by the Gumbel-max trick: argmax of x / T + g, with g independent Gumbel variables, is a
// draw from softmax(x / T). g depends on (seed, choice, position, token id) alone (NUMERICS.md 9), so
// neither the batch nor the cut of the vocabulary over ranks changes a draw, and the draw of a truncated
// distribution needs no sum.
#include <math.h>

#include "philox.h"
#include "pool.h"
#include "simd.h"

// Last word of the counter: keeps the draws of tokens apart from other uses of a seed.
enum { TOKEN_STREAM = 0 };

typedef struct {
  float* values;
  int32_t* ids;
  const float* logits;
  int64_t stride;
  int32_t size;
  int32_t first_id;
  const float* temperatures;
  const uint32_t* seeds;
  const int32_t* choices;
  const int32_t* positions;
  const float* thresholds;
} gumbel_draw;

// The best value of each lane, and the number of the vector where it stood (exact below 2^24).
typedef struct {
  f32x16 value;
  f32x16 place;
  float largest;  // of the values, while noise is drawn
} lane_best;

static inline void keep_best(lane_best* best, f32x16 value, float place) {
  const mask16 better = f32x16_gt(value, best->value);
  best->value = f32x16_select(better, value, best->value);
  best->place = f32x16_select(better, f32x16_set1(place), best->place);
}

// v = (word + 1/2) / 2^32, uniform in (0, 1).
static inline f32x16 uniform(const float* word) {
  const f32x16 v = f32x16_fma(f32x16_load(word), f32x16_set1(0x1p-32f), f32x16_set1(0x1p-33f));
  return f32x16_min(v, f32x16_set1(0x1.fffffep-1f));
}

// -ln(e) for the exponential variable e = -ln(u), u = 1 - v. What decides is a small e, which a float u
// near 1 cannot tell apart; so the error of u is divided out (Kahan's log1p).
static inline f32x16 gumbel(f32x16 v) {
  const f32x16 one = f32x16_set1(1.0f);
  const f32x16 u = f32x16_sub(one, v);
  const f32x16 rounded = f32x16_sub(one, u);
  const f32x16 corrected = f32x16_mul(f32x16_neg(f32x16_log(u)), f32x16_div(v, rounded));
  const f32x16 e = f32x16_select(f32x16_gt(rounded, f32x16_zero()), corrected, v);
  return f32x16_neg(f32x16_log(e));
}

// NaN counts as -inf: it never wins over a number.
static inline f32x16 load_logits(const float* p) {
  return f32x16_max(f32x16_load(p), f32x16_set1(-INFINITY));
}

// A noise above best - largest takes e, and so v < e, below exp(largest - best). The margin is far more
// than what rounding can add.
static float noise_bound(float largest, float best) {
  const float margin = 0.01f + 1e-6f * fabsf(best);
  float bound[16];
  f32x16_store(bound, f32x16_exp(f32x16_set1(largest - best + margin)));
  return bound[0];
}

// One group of 64 consecutive ids from a multiple of 64. Most groups hold no candidate once a good one
// has been seen: then they cost the random words, or less.
static void draw_group(const gumbel_draw* g, int64_t row, int32_t id, const float* logits,
                       float place, lane_best* best) {
  enum { VECTORS = PHILOX_WORDS / 16 };
  const f32x16 low = f32x16_set1(-INFINITY), threshold = f32x16_set1(g->thresholds[row]);
  const f32x16 temperature = f32x16_set1(g->temperatures[row]);
  const int greedy = g->temperatures[row] == 0;
  f32x16 y[VECTORS], largest = low;
  for (int v = 0; v < VECTORS; v++) {
    const f32x16 x = load_logits(logits + 16 * v);
    const f32x16 scaled = greedy ? x : f32x16_div(x, temperature);
    y[v] = f32x16_select(f32x16_ge(x, threshold), scaled, low);
    largest = f32x16_max(largest, y[v]);
  }
  if (greedy) {
    for (int v = 0; v < VECTORS; v++) keep_best(best, y[v], place + (float)v);
    return;
  }
  const float group_largest = f32x16_hmax(largest);
  if (group_largest == -INFINITY) return;
  const float bound = noise_bound(group_largest, best->largest);
  if (bound < 0x1p-33f) return;

  uint32_t words[PHILOX_WORDS];
  float numbers[PHILOX_WORDS];
  philox_words((uint32_t)id / 4, (uint32_t)g->positions[row], (uint32_t)g->choices[row],
               TOKEN_STREAM, g->seeds[2 * row], g->seeds[2 * row + 1], words);
  for (int i = 0; i < PHILOX_WORDS; i++) numbers[i] = (float)words[i];
  for (int v = 0; v < VECTORS; v++) {
    const f32x16 random = uniform(numbers + 16 * v);
    if (mask16_bits(f32x16_lt(random, f32x16_set1(bound))) == 0) continue;
    keep_best(best, f32x16_add(y[v], gumbel(random)), place + (float)v);
    best->largest = f32x16_hmax(best->value);
  }
}

static void draw_row(const gumbel_draw* g, int64_t row) {
  const float* logits = g->logits + row * g->stride;
  const int64_t end = (int64_t)g->first_id + g->size, base = g->first_id / PHILOX_WORDS * PHILOX_WORDS;
  lane_best best = {f32x16_set1(-INFINITY), f32x16_zero(), -INFINITY};
  float place = 0;
  for (int64_t id = base; id < end; id += PHILOX_WORDS, place += PHILOX_WORDS / 16) {
    if (id >= g->first_id && id + PHILOX_WORDS <= end) {
      draw_group(g, row, (int32_t)id, logits + (id - g->first_id), place, &best);
      continue;
    }
    float part[PHILOX_WORDS];
    for (int i = 0; i < PHILOX_WORDS; i++) {
      const int64_t column = id + i - g->first_id;
      part[i] = column >= 0 && column < g->size ? logits[column] : -INFINITY;
    }
    draw_group(g, row, (int32_t)id, part, place, &best);
  }

  // Ties take the lower id; so do rows in which nothing takes part.
  float value[16], places[16];
  f32x16_store(value, best.value);
  f32x16_store(places, best.place);
  g->values[row] = -INFINITY;
  g->ids[row] = g->first_id;
  for (int lane = 0; lane < 16; lane++) {
    const int32_t id = (int32_t)(base + 16 * (int64_t)places[lane] + lane);
    const int tied = value[lane] == g->values[row] && id < g->ids[row];
    if (value[lane] > g->values[row] || (tied && value[lane] != -INFINITY)) {
      g->values[row] = value[lane];
      g->ids[row] = id;
    }
  }
}

static void draw_rows(void* context, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) draw_row(context, row);
}

// values[t], ids[t]: the best of x / temperature + g, or of x where the temperature is 0, over logits
// x = logits[t, i] >= thresholds[t] of ids first_id + i; ties to the lower id. -inf and first_id where
// there is none. The draw of id takes word id % 4 of the Philox block with key `seeds[t]` and counter
// {id / 4, position, choice, 0}.
void weft_gumbel_argmax(weft_pool* pool, float* values, int32_t* ids, const float* logits,
                        int32_t stride, int32_t rows, int32_t size, int32_t first_id,
                        const float* temperatures, const uint32_t* seeds, const int32_t* choices,
                        const int32_t* positions, const float* thresholds) {
  gumbel_draw g = {values,       ids,   logits,  stride,    size,      first_id,
                   temperatures, seeds, choices, positions, thresholds};
  weft_pool_run(pool, draw_rows, &g, rows, 1);
}

// tokens[t]: the id with the best of `parts` draws, whose values (as bits) and ids are gathered
// [parts][2][rows]. Parts hold ascending ids, so a later one wins only when it is strictly better.
void weft_merge_draws(int32_t* tokens, const int32_t* draws, int32_t rows, int32_t parts) {
  for (int64_t row = 0; row < rows; row++) {
    float best = -INFINITY;
    tokens[row] = draws[rows + row];
    for (int64_t part = 0; part < parts; part++) {
      const int32_t* of_part = draws + part * 2 * rows;
      float value;
      memcpy(&value, of_part + row, sizeof value);
      if (value > best) {
        best = value;
        tokens[row] = of_part[rows + row];
      }
    }
  }
}
