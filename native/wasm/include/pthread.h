// Threads: workers of JavaScript that run a function of this module on this memory (threads.c).
#ifndef WEFT_WASM_PTHREAD_H
#define WEFT_WASM_PTHREAD_H

#include <signal.h>
#include <stddef.h>

typedef struct weft_thread* pthread_t;

// Returns before the thread runs; `attributes` is NULL.
int pthread_create(pthread_t* thread, const void* attributes, void* (*run)(void*), void* argument);
// Waits for the thread's end; one that has not begun never will. `result` is NULL.
int pthread_join(pthread_t thread, void** result);

static inline int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) {
  (void)how, (void)set;
  if (before != NULL) *before = 0;
  return 0;
}

#endif
