// The one system call that the sources make.
#ifndef WEFT_WASM_SYSCALL_H
#define WEFT_WASM_SYSCALL_H

#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { SYS_futex = 202 };

static inline int weft_futex(volatile void* word, int operation, uint32_t value,
                             const struct timespec* timeout) {
  if (operation == FUTEX_WAKE || operation == FUTEX_WAKE_PRIVATE) {
    return (int)__builtin_wasm_memory_atomic_notify((int*)word, value);
  }
  const int64_t forever = -1;
  return __builtin_wasm_memory_atomic_wait32(
      (int*)word, (int)value,
      timeout == NULL ? forever : timeout->tv_sec * 1000000000 + timeout->tv_nsec);
}

#define syscall(number, word, operation, value, timeout, ...) \
  weft_futex(word, operation, value, timeout)

#endif
