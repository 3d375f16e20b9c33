// Logits of single tokens changed, put back, and masked, before a draw.
#include <math.h>
#include <stdint.h>

#include "pool.h"

// What becomes of the logit of one token: after before and scale, after is added.
typedef struct {
  int32_t id;
  float before;
  float scale;
  float after;
} logit_entry;

typedef struct {
  float* logits;
  int64_t stride;
  int32_t size;
  int32_t first_id;
  const int32_t* starts;
  const logit_entry* entries;
  float* saved;
  int32_t capacity;
} logit_entries;

static float adjusted(float x, const logit_entry* entry) {
  const float sum = x + entry->before;
  return (sum > 0 ? sum / entry->scale : sum * entry->scale) + entry->after;
}

static int32_t end_of(const logit_entries* a, int64_t row) {
  return a->starts[row + 1] < a->capacity ? a->starts[row + 1] : a->capacity;
}

static void adjust_rows(void* context, int64_t begin, int64_t end) {
  const logit_entries* a = context;
  for (int64_t row = begin; row < end; row++) {
    float* logits = a->logits + row * a->stride;
    for (int32_t i = a->starts[row]; i < end_of(a, row); i++) {
      const int64_t column = (int64_t)a->entries[i].id - a->first_id;
      if (column < 0 || column >= a->size) continue;
      a->saved[i] = logits[column];
      logits[column] = adjusted(logits[column], a->entries + i);
    }
  }
}

static void restore_rows(void* context, int64_t begin, int64_t end) {
  const logit_entries* a = context;
  for (int64_t row = begin; row < end; row++) {
    float* logits = a->logits + row * a->stride;
    for (int32_t i = a->starts[row]; i < end_of(a, row); i++) {
      const int64_t column = (int64_t)a->entries[i].id - a->first_id;
      if (column >= 0 && column < a->size) logits[column] = a->saved[i];
    }
  }
}

// x becomes x + before, divided by scale where that is above 0 and multiplied by it elsewhere, + after;
// saved[i] keeps the x of entry i. Row t has the entries from starts[t] on, no token twice; those past
// `capacity` and of tokens that the row does not have are passed over.
void weft_adjust_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows, int32_t size,
                        int32_t first_id, const int32_t* starts, const logit_entry* entries,
                        float* saved, int32_t capacity) {
  logit_entries a = {logits, stride, size, first_id, starts, entries, saved, capacity};
  weft_pool_run(pool, adjust_rows, &a, rows, 1);
}

// Puts back what weft_adjust_logits has saved.
void weft_restore_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows, int32_t size,
                         int32_t first_id, const int32_t* starts, const logit_entry* entries,
                         float* saved, int32_t capacity) {
  logit_entries a = {logits, stride, size, first_id, starts, entries, saved, capacity};
  weft_pool_run(pool, restore_rows, &a, rows, 1);
}

typedef struct {
  float* logits;
  int64_t stride;
  int32_t size;
  int32_t first_id;
  const uint32_t* masks;
  int64_t words;
  int32_t num_masks;
  const int32_t* mask_rows;
} logit_masks;

static void mask_rows(void* context, int64_t begin, int64_t end) {
  const logit_masks* a = context;
  for (int64_t row = begin; row < end; row++) {
    const int32_t number = a->mask_rows[row];
    if (number < 0 || number >= a->num_masks) continue;
    const uint32_t* mask = a->masks + number * a->words;
    float* logits = a->logits + row * a->stride;
    for (int64_t column = 0; column < a->size; column++) {
      const int64_t id = a->first_id + column, word = id / 32;
      if (word >= a->words || (mask[word] >> id % 32 & 1) == 0) logits[column] = -INFINITY;
    }
  }
}

// -inf for the tokens of row t whose bit of masks[mask_rows[t]] is 0, or that have no bit. Rows without
// a mask that is there, [0, num_masks), stay as they are.
void weft_mask_logits(weft_pool* pool, float* logits, int32_t stride, int32_t rows, int32_t size,
                      int32_t first_id, const uint32_t* masks, int32_t words, int32_t num_masks,
                      const int32_t* rows_of_masks) {
  logit_masks a = {logits, stride, size, first_id, masks, words, num_masks, rows_of_masks};
  weft_pool_run(pool, mask_rows, &a, rows, 1);
}
