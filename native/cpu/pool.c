// The pool: pieces are claimed one by one; helpers spin briefly, then sleep on a futex.
//
// Each thread begins with a share of neighbouring pieces, in order: what it reads is then one stream,
// which memory is asked for ahead of time. Whoever has none left goes on with the others' shares.
//
// The caller waits for pieces, not for threads: a helper that is held up before it has claimed one, or
// that has not woken yet, delays nobody.
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

// Pauses before a thread sleeps: 20 to 70 us by processor, more than the gap between two kernels.
enum { SPINS = 1500, MAX_PIECES = 1 << 30 };

// Neighbouring pieces of the job.
typedef struct {
  // Number of the job and how many of the share's pieces nobody has claimed: in one word, as a claim
  // holds for the job whose fields the claimer then reads, however long it was held up before.
  _Alignas(64) _Atomic uint64_t unclaimed;
  uint32_t end;  // the share's last piece + 1
} piece_share;

struct weft_pool {
  int helpers;
  pthread_t* threads;
  piece_share* shares;  // one for each thread

  // The job; written while none of its pieces is claimed or can be.
  weft_task task;
  void* context;
  int64_t count;
  int64_t grain;

  _Alignas(64) _Atomic uint32_t generation;  // changes with each job; helpers wait on it
  _Atomic int stop;
  _Atomic int started;                       // helpers that have begun
  _Atomic int sleepers;                      // helpers that may be asleep
  _Alignas(64) _Atomic uint32_t unfinished;  // pieces of the job; the caller waits on it
  _Atomic int caller_sleeps;
};

static void futex_wait(_Atomic uint32_t* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

// Claims the first piece that is left of a share; 0 when there is none.
static int claim(piece_share* share, uint32_t* piece) {
  uint64_t before = atomic_load(&share->unclaimed);
  do {
    if ((uint32_t)before == 0) return 0;
  } while (!atomic_compare_exchange_weak(&share->unclaimed, &before, before - 1));
  *piece = share->end - (uint32_t)before;
  return 1;
}

static void work_on(weft_pool* pool, piece_share* share) {
  for (uint32_t piece; claim(share, &piece);) {
    const int64_t begin = piece * pool->grain, rest = pool->count - begin;
    pool->task(pool->context, begin, begin + (rest < pool->grain ? rest : pool->grain));
    // After the last piece the job's fields may change at once.
    if (atomic_fetch_sub(&pool->unfinished, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      futex_wake(&pool->unfinished);
    }
  }
}

// Thread `self` works on its share, then on those of the threads that follow it.
static void work(weft_pool* pool, int self) {
  for (int i = self; i <= pool->helpers; i++) work_on(pool, &pool->shares[i]);
  for (int i = 0; i < self; i++) work_on(pool, &pool->shares[i]);
}

static void* helper(void* argument) {
  weft_pool* pool = argument;
  const int self = atomic_fetch_add(&pool->started, 1) + 1;
  uint32_t seen = 0;
  for (;;) {
    for (int spin = 0; atomic_load(&pool->generation) == seen && spin < SPINS; spin++) {
      weft_pause();
    }
    while (atomic_load(&pool->generation) == seen) {
      atomic_fetch_add(&pool->sleepers, 1);
      futex_wait(&pool->generation, seen);
      atomic_fetch_sub(&pool->sleepers, 1);
    }
    seen = atomic_load(&pool->generation);
    if (atomic_load(&pool->stop)) return NULL;
    work(pool, self);
  }
}

static void announce(weft_pool* pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) > 0) futex_wake(&pool->generation);
}

static void wait_until_finished(weft_pool* pool) {
  for (int spin = 0; spin < SPINS; spin++) {
    if (atomic_load(&pool->unfinished) == 0) return;
    weft_pause();
  }
  // Asleep, this thread leaves its core to the helper that holds a piece.
  atomic_store(&pool->caller_sleeps, 1);
  for (uint32_t unfinished; (unfinished = atomic_load(&pool->unfinished)) != 0;) {
    futex_wait(&pool->unfinished, unfinished);
  }
  atomic_store(&pool->caller_sleeps, 0);
}

void weft_pool_run(weft_pool* pool, weft_task task, void* context, int64_t count, int64_t grain) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  if (pool->helpers == 0 || count <= grain) {
    task(context, 0, count);
    return;
  }
  if (count / grain >= MAX_PIECES) grain = count / MAX_PIECES + 1;
  pool->task = task;
  pool->context = context;
  pool->count = count;
  pool->grain = grain;
  const uint32_t pieces = (uint32_t)((count + grain - 1) / grain);
  const uint32_t threads = (uint32_t)pool->helpers + 1;
  atomic_store(&pool->unfinished, pieces);
  for (uint32_t i = 0; i < threads; i++) {
    pool->shares[i].end = (uint32_t)((uint64_t)pieces * (i + 1) / threads);
  }
  const uint64_t job = (uint64_t)atomic_load(&pool->generation) + 1;
  for (uint32_t i = 0; i < threads; i++) {
    const uint32_t begin = i == 0 ? 0 : pool->shares[i - 1].end;
    atomic_store(&pool->shares[i].unclaimed, job << 32 | (pool->shares[i].end - begin));
  }
  announce(pool);
  work(pool, 0);
  wait_until_finished(pool);
}

int weft_pool_threads(const weft_pool* pool) { return pool->helpers + 1; }

weft_pool* weft_pool_create(int threads) {
  weft_pool* pool = aligned_alloc(64, sizeof(weft_pool));
  if (pool == NULL) return NULL;
  *pool = (weft_pool){0};
  const size_t most = (size_t)(threads > 1 ? threads : 1);
  pool->threads = calloc(most, sizeof(pthread_t));
  pool->shares = aligned_alloc(64, most * sizeof(piece_share));
  if (pool->threads == NULL || pool->shares == NULL) {
    weft_pool_destroy(pool);
    return NULL;
  }
  memset(pool->shares, 0, most * sizeof(piece_share));
  // Signals are for the host program's threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = 0;
  while (pool->helpers < threads - 1 && !failed) {
    failed = pthread_create(&pool->threads[pool->helpers], NULL, helper, pool);
    if (!failed) pool->helpers++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) {
    weft_pool_destroy(pool);
    return NULL;
  }
  return pool;
}

void weft_pool_destroy(weft_pool* pool) {
  if (pool == NULL) return;
  atomic_store(&pool->stop, 1);
  announce(pool);
  for (int i = 0; i < pool->helpers; i++) pthread_join(pool->threads[i], NULL);
  free(pool->threads);
  free(pool->shares);
  free(pool);
}
