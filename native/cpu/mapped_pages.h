// Pages of mapped files that are not needed any more.
#ifndef WEFT_MAPPED_PAGES_H
#define WEFT_MAPPED_PAGES_H

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

// Gives whole pages of [begin, end), part of a file mapping, back to the system: they are read from
// the file again when somebody asks for them.
static inline void weft_give_back(const char* begin, const char* end) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  const uintptr_t first = ((uintptr_t)begin + page - 1) / page * page;
  const uintptr_t last = (uintptr_t)end / page * page;
  if (first < last) madvise((void*)first, last - first, MADV_DONTNEED);
}

#endif
