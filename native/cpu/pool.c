// The pool: pieces by an atomic counter; helpers spin briefly, then sleep on a futex.
#include "pool.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pause.h"

// Pauses before a thread sleeps: 20 to 70 us by processor, more than the gap between two kernels.
enum { SPINS = 1500 };

struct weft_pool {
  int helpers;
  pthread_t* threads;

  // The job; written while `open` is 0 and `active` is 0.
  weft_task task;
  void* context;
  int64_t count;
  int64_t grain;

  _Alignas(64) _Atomic int64_t next;         // first item that nobody has taken
  _Alignas(64) _Atomic uint32_t generation;  // changes with each job; helpers wait on it
  _Atomic int open;                          // 1 while a job may be joined
  _Atomic int stop;
  _Atomic int sleepers;                       // helpers that may be asleep
  _Alignas(64) _Atomic uint32_t active;      // helpers inside the job; the caller waits on it
  _Atomic int caller_sleeps;
};

static void futex_wait(_Atomic uint32_t* word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 0x7fffffff, NULL, NULL, 0);
}

static void work(weft_pool* pool) {
  const int64_t count = pool->count, grain = pool->grain;
  for (;;) {
    const int64_t begin = atomic_fetch_add(&pool->next, grain);
    if (begin >= count) return;
    const int64_t end = count - begin < grain ? count : begin + grain;
    pool->task(pool->context, begin, end);
  }
}

static void* helper(void* argument) {
  weft_pool* pool = argument;
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

    // Enter first, then look whether the job is still open: the caller closes it first and then
    // looks whether anybody is inside, so one of the two sees the other.
    atomic_fetch_add(&pool->active, 1);
    if (atomic_load(&pool->open)) work(pool);
    if (atomic_fetch_sub(&pool->active, 1) == 1 && atomic_load(&pool->caller_sleeps)) {
      futex_wake(&pool->active);
    }
  }
}

static void announce(weft_pool* pool) {
  atomic_fetch_add(&pool->generation, 1);
  if (atomic_load(&pool->sleepers) > 0) futex_wake(&pool->generation);
}

static void wait_until_empty(weft_pool* pool) {
  for (int spin = 0; spin < SPINS; spin++) {
    if (atomic_load(&pool->active) == 0) return;
    weft_pause();
  }
  atomic_store(&pool->caller_sleeps, 1);
  for (uint32_t active; (active = atomic_load(&pool->active)) != 0;) {
    futex_wait(&pool->active, active);
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
  pool->task = task;
  pool->context = context;
  pool->count = count;
  pool->grain = grain;
  atomic_store(&pool->next, 0);
  atomic_store(&pool->open, 1);
  announce(pool);
  work(pool);
  // A helper that has not woken by now is not waited for.
  atomic_store(&pool->open, 0);
  wait_until_empty(pool);
}

int weft_pool_threads(const weft_pool* pool) { return pool->helpers + 1; }

weft_pool* weft_pool_create(int threads) {
  weft_pool* pool = aligned_alloc(64, sizeof(weft_pool));
  if (pool == NULL) return NULL;
  *pool = (weft_pool){0};
  pool->threads = calloc((size_t)(threads > 1 ? threads - 1 : 1), sizeof(pthread_t));
  if (pool->threads == NULL) {
    free(pool);
    return NULL;
  }
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
  free(pool);
}
