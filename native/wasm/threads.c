// Threads of pthread.h. JavaScript starts a worker that makes an instance of this module on the same
// memory, with a stack of its own, and calls weft_thread_run there.
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { THREAD_STARTING, THREAD_RUNNING, THREAD_ENDED, THREAD_CANCELLED };

struct weft_thread {
  int state;
  void* (*run)(void*);
  void* argument;
};

// Starts a worker that calls weft_thread_run(thread); 0 when there is no way to start one.
__attribute__((import_module("weft"), import_name("start_thread"))) int weft_start_thread(
    struct weft_thread* thread);

int pthread_create(pthread_t* thread, const void* attributes, void* (*run)(void*), void* argument) {
  (void)attributes;
  struct weft_thread* created = calloc(1, sizeof *created);
  if (created == NULL) return ENOMEM;
  created->run = run;
  created->argument = argument;
  if (!weft_start_thread(created)) {
    free(created);
    return EAGAIN;
  }
  *thread = created;
  return 0;
}

// Called on the thread's own instance. Frees the record of a thread that nobody waits for any more.
void weft_thread_run(struct weft_thread* thread) {
  int expected = THREAD_STARTING;
  if (!__atomic_compare_exchange_n(&thread->state, &expected, THREAD_RUNNING, 0, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE)) {
    free(thread);
    return;
  }
  thread->run(thread->argument);
  __atomic_store_n(&thread->state, THREAD_ENDED, __ATOMIC_RELEASE);
  __builtin_wasm_memory_atomic_notify(&thread->state, 1);
}

int pthread_join(pthread_t thread, void** result) {
  (void)result;
  int state = THREAD_STARTING;
  if (__atomic_compare_exchange_n(&thread->state, &state, THREAD_CANCELLED, 0, __ATOMIC_ACQ_REL,
                                  __ATOMIC_ACQUIRE)) {
    return 0;
  }
  while (__atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) != THREAD_ENDED) {
    __builtin_wasm_memory_atomic_wait32(&thread->state, THREAD_RUNNING, -1);
  }
  free(thread);
  return 0;
}
