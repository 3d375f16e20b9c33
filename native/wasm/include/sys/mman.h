// Anonymous memory. There are no pages to advise on.
#ifndef WEFT_WASM_MMAN_H
#define WEFT_WASM_MMAN_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 32 };
enum { MADV_DONTNEED = 4, MADV_HUGEPAGE = 14 };
#define MAP_FAILED ((void*)-1)

static inline int madvise(void* memory, size_t bytes, int advice) {
  (void)memory, (void)bytes, (void)advice;
  return 0;
}

#endif
