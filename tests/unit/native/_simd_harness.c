// Applies the functions of simd.h to arrays, and counts what the pool hands out.
#include "pool.h"
#include "simd.h"

typedef f32x16 (*vector_function)(f32x16);

static f32x16 identity(f32x16 a) { return a; }

static const vector_function FUNCTIONS[] = {
    identity,      f32x16_exp,   f32x16_log, f32x16_tanh, f32x16_silu, f32x16_gelu_tanh,
    f32x16_round,  f32x16_neg,   f32x16_abs, f32x16_sqrt,
};

void harness_apply(int32_t function, float* out, const float* x, int32_t count) {
  for (int i = 0; i < count; i += 16) {
    const int n = count - i < 16 ? count - i : 16;
    f32x16_store_n(out + i, FUNCTIONS[function](f32x16_load_n(x + i, n)), n);
  }
}

void harness_widen(int32_t format, float* out, const uint16_t* x, int32_t count) {
  for (int i = 0; i < count; i += 16) {
    const int n = count - i < 16 ? count - i : 16;
    // Whole vectors where there are, so that both loads are used.
    f32x16_store_n(out + i, n == 16 ? f32x16_load_as(x, i, format) : f32x16_load_as_n(x, i, n, format), n);
  }
}

void harness_narrow(int32_t format, uint16_t* out, const float* x, int32_t count) {
  for (int i = 0; i < count; i += 16) {
    const int n = count - i < 16 ? count - i : 16;
    const f32x16 a = f32x16_load_n(x + i, n);
    if (format == WEFT_F16) {
      if (n == 16) f32x16_store_f16(out + i, a);
      else f32x16_store_f16_n(out + i, a, n);
    } else {
      if (n == 16) f32x16_store_bf16(out + i, a);
      else f32x16_store_bf16_n(out + i, a, n);
    }
  }
}

// out[0..15]: f32x16_sum of each vector; out[16..31]: the same by f32x16_sums; out[32..47]: f32x16_hmax.
void harness_reduce(float* out, const float* x) {
  f32x16 a[16];
  for (int j = 0; j < 16; j++) {
    a[j] = f32x16_load(x + 16 * j);
    out[j] = f32x16_sum(a[j]);
    out[32 + j] = f32x16_hmax(a[j]);
  }
  f32x16_store(out + 16, f32x16_sums(a, 16));
}

// Bits of the comparisons <, <=, >, >=, == of two vectors, then select, max, min and copysign of them.
void harness_compare(uint32_t* bits, float* out, const float* x, const float* y) {
  const f32x16 a = f32x16_load(x), b = f32x16_load(y);
  bits[0] = mask16_bits(f32x16_lt(a, b));
  bits[1] = mask16_bits(f32x16_le(a, b));
  bits[2] = mask16_bits(f32x16_gt(a, b));
  bits[3] = mask16_bits(f32x16_ge(a, b));
  bits[4] = mask16_bits(f32x16_eq(a, b));
  f32x16_store(out, f32x16_select(f32x16_lt(a, b), a, b));
  f32x16_store(out + 16, f32x16_max(a, b));
  f32x16_store(out + 32, f32x16_min(a, b));
  f32x16_store(out + 48, f32x16_copysign(a, b));
}

static void count_task(void* context, int64_t begin, int64_t end) {
  int32_t* counts = context;
  for (int64_t i = begin; i < end; i++) counts[i]++;
}

// Runs `jobs` jobs one after another; each adds 1 to every count.
int32_t harness_pool(int32_t threads, int32_t* counts, int32_t count, int32_t grain, int32_t jobs) {
  weft_pool* pool = weft_pool_create(threads);
  if (pool == NULL) return -1;
  for (int job = 0; job < jobs; job++) weft_pool_run(pool, count_task, counts, count, grain);
  const int32_t created = weft_pool_threads(pool);
  weft_pool_destroy(pool);
  return created;
}

// Jobs of two kinds, one after the other: each adds 1 to all counts of its own.
int32_t harness_pool_alternating(int32_t threads, int32_t* few, int32_t few_count, int32_t* many,
                                 int32_t many_count, int32_t jobs) {
  weft_pool* pool = weft_pool_create(threads);
  if (pool == NULL) return -1;
  for (int job = 0; job < jobs; job++) {
    weft_pool_run(pool, count_task, few, few_count, 1);
    weft_pool_run(pool, count_task, many, many_count, 2);
  }
  weft_pool_destroy(pool);
  return 0;
}
