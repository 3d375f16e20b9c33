// Anonymous memory. There are no pages to advise on.
#ifndef WEFT_WASM_MMAN_H
#define WEFT_WASM_MMAN_H

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 32 };
enum { MADV_DONTNEED = 4, MADV_HUGEPAGE = 14 };
#define MAP_FAILED ((void*)-1)

#define mmap(address, bytes, protection, flags, file, offset) weft_map(bytes)
#define munmap(memory, bytes) free(memory)

static inline void* weft_map(size_t bytes) {
  void* memory = aligned_alloc(64, bytes);
  return memory == NULL ? MAP_FAILED : memory;
}

static inline int madvise(void* memory, size_t bytes, int advice) {
  (void)memory, (void)bytes, (void)advice;
  return 0;
}

#endif
