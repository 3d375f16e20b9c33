// Measures the arithmetic that this processor's cores reach together, from registers alone: one line of
// JSON with operations a second (a multiply-add is two). The compiler's flags choose what is there.
//
// Usage: peaks THREADS
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__AMX_TILE__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

// Tens of milliseconds.
#define STEPS 5000000
#define TILE_STEPS 500000
#define REPETITIONS 5

// Independent sums, in registers: more than latency times instructions a cycle.
#define SUMS 12
#define FOR_SUMS(statement)                                                                        \
  statement(0) statement(1) statement(2) statement(3) statement(4) statement(5) statement(6)       \
      statement(7) statement(8) statement(9) statement(10) statement(11)

typedef float float_vector __attribute__((vector_size(VECTOR_BYTES)));

// Hides where a value in a register comes from and that it is used no more.
#if defined(__x86_64__)
#define OPAQUE(value) __asm__ volatile("" : "+v"(value))
#else
#define OPAQUE(value) __asm__ volatile("" : "+w"(value))
#endif

// A kernel runs a fixed piece of work and returns its operations.
typedef double kernel(void);

static double fused_multiply_add(void) {
  float_vector zero = {0}, x = zero, y = zero;
  OPAQUE(x);
  OPAQUE(y);
#define BEGIN(i) float_vector sum##i = zero;
#define ADD(i)                                                                                     \
  sum##i = sum##i * x + y;                                                                         \
  OPAQUE(sum##i);
  FOR_SUMS(BEGIN)
  for (int step = 0; step < STEPS; step++) {
    FOR_SUMS(ADD)
  }
#undef BEGIN
#undef ADD
  return 2.0 * STEPS * SUMS * (VECTOR_BYTES / sizeof(float));
}

#if defined(__AVX512BF16__)
static double bf16_dot(void) {
  __m512 zero = _mm512_setzero_ps();
  __m512bh x = _mm512_cvtne2ps_pbh(zero, zero), y = x;
  OPAQUE(x);
  OPAQUE(y);
#define BEGIN(i) __m512 sum##i = zero;
#define ADD(i)                                                                                     \
  sum##i = _mm512_dpbf16_ps(sum##i, x, y);                                                         \
  OPAQUE(sum##i);
  FOR_SUMS(BEGIN)
  for (int step = 0; step < STEPS; step++) {
    FOR_SUMS(ADD)
  }
#undef BEGIN
#undef ADD
  return 2.0 * STEPS * SUMS * 32;
}
#endif

#if defined(__AVX512VNNI__)
static double int8_dot(void) {
  __m512i zero = _mm512_setzero_si512(), x = zero, y = zero;
  OPAQUE(x);
  OPAQUE(y);
#define BEGIN(i) __m512i sum##i = zero;
#define ADD(i)                                                                                     \
  sum##i = _mm512_dpbusd_epi32(sum##i, x, y);                                                      \
  OPAQUE(sum##i);
  FOR_SUMS(BEGIN)
  for (int step = 0; step < STEPS; step++) {
    FOR_SUMS(ADD)
  }
#undef BEGIN
#undef ADD
  return 2.0 * STEPS * SUMS * 64;
}
#endif

#if defined(__AMX_TILE__)
// Tiles 0 to 3 are sums, 4 and 5 rows of one factor, 6 and 7 of the other.
static void configure_tiles(void) {
  struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } __attribute__((aligned(64))) config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int tile = 0; tile < 8; tile++) {
    config.bytes[tile] = 64;
    config.rows[tile] = 16;
  }
  // gcc 12 takes these stores for dead otherwise.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}
#endif

#if defined(__AMX_BF16__)
static double amx_bf16(void) {
  configure_tiles();
  for (int step = 0; step < TILE_STEPS; step++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
  return 2.0 * TILE_STEPS * 4 * 16 * 16 * 32;
}
#endif

#if defined(__AMX_INT8__)
static double amx_int8(void) {
  configure_tiles();
  for (int step = 0; step < TILE_STEPS; step++) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
  return 2.0 * TILE_STEPS * 4 * 16 * 16 * 64;
}
#endif

static const struct {
  const char *name;
  kernel *run;
} kernels[] = {
    {"fma", fused_multiply_add},
#if defined(__AVX512BF16__)
    {"bf16Dot", bf16_dot},
#endif
#if defined(__AVX512VNNI__)
    {"int8Dot", int8_dot},
#endif
#if defined(__AMX_BF16__)
    {"amxBf16", amx_bf16},
#endif
#if defined(__AMX_INT8__)
    {"amxInt8", amx_int8},
#endif
};
enum { KERNELS = sizeof kernels / sizeof kernels[0] };

struct task {
  kernel *run;
  pthread_barrier_t *barrier;
  double operations, start, end;
};

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void *run_task(void *argument) {
  struct task *task = argument;
  task->run();
  pthread_barrier_wait(task->barrier);
  task->start = now();
  task->operations = task->run();
  task->end = now();
  return NULL;
}

// Operations a second of all threads together.
static double rate(kernel *run, int threads) {
  pthread_t ids[threads];
  struct task tasks[threads];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, (unsigned)threads);
  for (int i = 0; i < threads; i++) {
    tasks[i] = (struct task){run, &barrier, 0, 0, 0};
    if (pthread_create(&ids[i], NULL, run_task, &tasks[i]) != 0) exit(1);
  }
  double operations = 0, start = INFINITY, end = 0;
  for (int i = 0; i < threads; i++) {
    pthread_join(ids[i], NULL);
    operations += tasks[i].operations;
    start = fmin(start, tasks[i].start);
    end = fmax(end, tasks[i].end);
  }
  pthread_barrier_destroy(&barrier);
  return operations / (end - start);
}

int main(int count, char **arguments) {
  int threads = count == 2 ? atoi(arguments[1]) : 0;
  if (threads < 1 || threads > 1024) {
    fprintf(stderr, "Usage: peaks THREADS\n");
    return 2;
  }
#if defined(__AMX_TILE__)
  // Linux lets a process use tiles only when it has asked for their state.
  enum { REQUEST_STATE = 0x1023, TILE_DATA = 18 };
  if (syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) != 0) {
    fprintf(stderr, "Cannot use AMX as the kernel refuses its state\n");
    return 1;
  }
#endif
  for (int i = 0; i < KERNELS; i++) {
    double best = 0;
    for (int repetition = 0; repetition < REPETITIONS; repetition++) {
      double reached = rate(kernels[i].run, threads);
      if (reached > best) best = reached;
    }
    printf("%s\"%s\": %.6g", i == 0 ? "{" : ", ", kernels[i].name, best);
  }
  printf("}\n");
  return 0;
}
