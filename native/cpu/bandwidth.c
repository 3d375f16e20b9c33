// Measures how fast the machine reads memory: the limit of decoding, which streams every weight.
#define _GNU_SOURCE  // MAP_ANONYMOUS, MADV_HUGEPAGE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pool.h"

enum { PIECE = 1 << 20, LINE_WORDS = 8, AHEAD_WORDS = 256 };

typedef struct {
  uint64_t* words;
  uint64_t sum;  // keeps the compiler from dropping the reads
} buffer;

// Whoever reads a piece first touches it, so that it lies near that thread.
static void fill(void* context, int64_t begin, int64_t end) {
  memset((uint8_t*)((buffer*)context)->words + begin * PIECE, 1, (size_t)(end - begin) * PIECE);
}

static void read_pieces(void* context, int64_t begin, int64_t end) {
  buffer* b = context;
  const uint64_t* word = b->words + begin * (PIECE / 8);
  const uint64_t* last = b->words + end * (PIECE / 8);
  uint64_t sums[LINE_WORDS] = {0};
  for (; word < last; word += LINE_WORDS) {
    __builtin_prefetch(word + AHEAD_WORDS);
    for (int lane = 0; lane < LINE_WORDS; lane++) sums[lane] += word[lane];
  }
  uint64_t sum = 0;
  for (int lane = 0; lane < LINE_WORDS; lane++) sum += sums[lane];
  __atomic_fetch_add(&b->sum, sum, __ATOMIC_RELAXED);
}

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Best of `repetitions` reads of `mebibytes` MiB by `threads` threads, in bytes a second; or -errno.
double weft_read_bandwidth(int32_t mebibytes, int32_t threads, int32_t repetitions) {
  const size_t bytes = (size_t)mebibytes * PIECE;
  void* memory =
      mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: 4 KiB pages do too
  weft_pool* pool = weft_pool_create(threads);
  double best = -ENOMEM;
  if (pool != NULL) {
    buffer context = {memory, 0};
    weft_pool_run(pool, fill, &context, mebibytes, 8);
    for (int i = 0; i < repetitions; i++) {
      const double start = seconds_now();
      weft_pool_run(pool, read_pieces, &context, mebibytes, 8);
      const double rate = (double)bytes / (seconds_now() - start);
      if (rate > best) best = rate;
    }
    weft_pool_destroy(pool);
  }
  munmap(memory, bytes);
  return best;
}
