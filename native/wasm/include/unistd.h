// What the sources ask of the system.
#ifndef WEFT_WASM_UNISTD_H
#define WEFT_WASM_UNISTD_H

#include <stdint.h>

enum { _SC_PAGESIZE = 30 };
// Of the memory's own pages, which is all that sources ask for.
static inline long sysconf(int name) { return name == _SC_PAGESIZE ? 65536 : -1; }

static inline int usleep(unsigned microseconds) {
  int word = 0;
  __builtin_wasm_memory_atomic_wait32(&word, 0, (int64_t)microseconds * 1000);
  return 0;
}

#endif
