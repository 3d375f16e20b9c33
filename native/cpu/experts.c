// Mixture of experts: routing, products grouped by expert, and the weighted sum in order of expert
// number (NUMERICS.md 7).
#include "linear.h"
#include "pool.h"
#include "simd.h"
#include "softmax.h"

enum { MAX_EXPERTS = 1024 };  // checked by the caller

typedef struct {
  float* weights;
  int32_t* experts;
  const float* logits;
  int64_t stride;
  int32_t num_experts;
  int32_t top_k;
  int32_t normalize;
} routing;

static void route_rows(void* context, int64_t begin, int64_t end) {
  const routing* a = context;
  for (int64_t row = begin; row < end; row++) {
    float probabilities[MAX_EXPERTS];
    uint8_t chosen[MAX_EXPERTS] = {0};
    weft_softmax_row(probabilities, a->logits + row * a->stride, a->num_experts);
    for (int choice = 0; choice < a->top_k; choice++) {
      int best = -1;
      for (int e = 0; e < a->num_experts; e++) {
        if (!chosen[e] && (best < 0 || probabilities[e] > probabilities[best])) best = e;
      }
      chosen[best] = 1;
    }
    float* weights = a->weights + row * a->top_k;
    int32_t* experts = a->experts + row * a->top_k;
    float sum = 0;
    for (int e = 0, j = 0; e < a->num_experts; e++) {
      if (!chosen[e]) continue;
      experts[j] = e;
      weights[j++] = probabilities[e];
      sum += probabilities[e];
    }
    for (int j = 0; a->normalize && j < a->top_k; j++) weights[j] /= sum;
  }
}

// weights and experts [rows][top_k], by expert number: the top_k largest of softmax(logits), ties to the
// lower expert, divided by their sum when `normalize`.
void weft_route_experts(weft_pool* pool, float* weights, int32_t* experts, const float* logits,
                        int32_t stride, int32_t rows, int32_t num_experts, int32_t top_k,
                        int32_t normalize) {
  routing a = {weights, experts, logits, stride, num_experts, top_k, normalize};
  weft_pool_run(pool, route_rows, &a, rows, 16);
}

// Sorts `pairs` pair numbers by expert, stably: order[offsets[e]] is the first pair of expert e. Returns
// -1, or the first pair whose expert does not exist.
int32_t weft_sort_by_expert(int32_t* order, int32_t* offsets, const int32_t* experts, int32_t pairs,
                            int32_t num_experts) {
  int32_t next[MAX_EXPERTS] = {0};
  for (int i = 0; i < pairs; i++) {
    if (experts[i] < 0 || experts[i] >= num_experts) return i;
    next[experts[i]]++;
  }
  int32_t offset = 0;
  for (int e = 0; e < num_experts; e++) {
    offsets[e] = offset;
    offset += next[e];
    next[e] = offsets[e];
  }
  offsets[num_experts] = offset;
  for (int i = 0; i < pairs; i++) order[next[experts[i]]++] = i;
  return -1;
}

// The products of one expert with its pairs.
typedef struct {
  weft_linear_pieces pieces;
  int64_t first_piece;  // over all experts
  int64_t first_pair;   // in this round
} expert_product;

// Lists end with a product that no item belongs to.
static void prepare_pairs(void* context, int64_t begin, int64_t end) {
  for (const expert_product* e = context; begin < end; e++) {
    const int64_t last = e[1].first_pair < end ? e[1].first_pair : end;
    if (begin >= last) continue;
    weft_linear_prepare(&e->pieces.job, begin - e->first_pair, last - e->first_pair);
    begin = last;
  }
}

static void multiply_pieces(void* context, int64_t begin, int64_t end) {
  const expert_product* e = context;
  for (int64_t item = begin; item < end; item++) {
    while (item >= e[1].first_piece) e++;
    weft_linear_piece(&e->pieces, item - e->first_piece);
  }
}

// Addresses have 64 bits on every machine, as whoever calls writes them.
static const weft_weight* weight_at(const uint64_t* weights, int expert) {
  return (const weft_weight*)(uintptr_t)weights[expert];
}

static int32_t min(int32_t a, int32_t b) { return a < b ? a : b; }
static int32_t max(int32_t a, int32_t b) { return a > b ? a : b; }

// out[i] = x[source(i)] weights[e]^T for i in [offsets[e], offsets[e + 1]), where source(i) is
// order[i] / input_divisor, or i when input_divisor is 0. The weights are kept in one way.
void weft_grouped_linear(weft_pool* pool, float* out, int32_t out_stride, const float* x,
                         int32_t x_stride, const uint64_t* weights, const int32_t* order,
                         const int32_t* offsets, int32_t num_experts, int32_t input_divisor,
                         void* scratch, int64_t scratch_bytes) {
  expert_product products[MAX_EXPERTS + 1];
  const int32_t pairs = offsets[num_experts];
  const int64_t token_bytes = weight_at(weights, 0)->token_bytes;
  const int64_t fitting = weft_linear_round(weight_at(weights, 0), (weft_token_scratch){scratch, scratch_bytes});
  const int32_t round = fitting < pairs ? (int32_t)fitting : pairs;
  for (int32_t begin = 0; begin < pairs; begin += round) {
    const int32_t end = pairs - begin < round ? pairs : begin + round;
    int64_t pieces = 0;
    int count = 0;
    for (int e = 0; e < num_experts; e++) {
      const int32_t first = max(offsets[e], begin), last = min(offsets[e + 1], end);
      if (first >= last) continue;
      const weft_linear_job job = {
          .out = out + (int64_t)first * out_stride,
          .out_stride = out_stride,
          .x = input_divisor > 0 ? x : x + (int64_t)first * x_stride,
          .x_stride = x_stride,
          .x_rows = input_divisor > 0 ? order + first : NULL,
          .x_divisor = input_divisor,
          .weight = weight_at(weights, e),
          .activation = WEFT_IDENTITY,
          .prepared = (char*)scratch + (first - begin) * token_bytes,
      };
      expert_product* p = &products[count++];
      p->pieces = weft_linear_cut(job, last - first, weft_pool_threads(pool));
      p->first_piece = pieces;
      p->first_pair = first - begin;
      pieces += p->pieces.count;
    }
    products[count].first_piece = pieces;
    products[count].first_pair = end - begin;
    if (token_bytes > 0) weft_pool_run(pool, prepare_pairs, products, end - begin, 16);
    weft_pool_run(pool, multiply_pieces, products, pieces, 1);
  }
}

typedef struct {
  float* out;
  int64_t out_stride;
  const float* y;
  int64_t y_stride;
  const float* weights;
  const int32_t* order;
  int32_t pairs;
  int32_t top_k;
  int32_t size;
} combination;

enum { COMBINE_COLUMNS = 256 };

// A range of columns of every row. In sorted order the pairs of a row come by expert, as in its own.
static void combine_columns(void* context, int64_t begin, int64_t end) {
  const combination* a = context;
  const int64_t last = end * COMBINE_COLUMNS < a->size ? end * COMBINE_COLUMNS : a->size;
  for (int i = 0; i < a->pairs; i++) {
    const int32_t pair = a->order[i];
    const int first_choice = pair % a->top_k == 0;
    const f32x16 weight = f32x16_set1(a->weights[pair]);
    const float* y = a->y + i * a->y_stride;
    float* out = a->out + pair / a->top_k * a->out_stride;
    for (int64_t column = begin * COMBINE_COLUMNS; column < last; column += 16) {
      const int n = last - column < 16 ? (int)(last - column) : 16;
      const f32x16 before = first_choice ? f32x16_zero() : f32x16_load_n(out + column, n);
      f32x16_store_n(out + column, f32x16_fma(weight, f32x16_load_n(y + column, n), before), n);
    }
  }
}

// out[t] = sum over j of weights[t, j] * y[i] with order[i] = t * top_k + j, in order of j.
void weft_combine_experts(weft_pool* pool, float* out, int32_t out_stride, const float* y,
                          int32_t y_stride, const float* weights, const int32_t* order, int32_t rows,
                          int32_t top_k, int32_t size) {
  combination a = {out, out_stride, y, y_stride, weights, order, rows * top_k, top_k, size};
  weft_pool_run(pool, combine_columns, &a, (size + COMBINE_COLUMNS - 1) / COMBINE_COLUMNS, 1);
}
