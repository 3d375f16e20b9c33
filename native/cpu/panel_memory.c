// Memory for packed weights, in huge pages: a page walk for every 2 MiB instead of every 4 KiB.
#define _DEFAULT_SOURCE  // MAP_ANONYMOUS, madvise
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 * 1024 * 1024 };

// Maps `bytes` bytes of zeros, a multiple of 2 MiB and aligned to that; NULL when there are none.
void* weft_map_panels(uint64_t bytes) {
  // As much more as it takes to find an aligned address; the ends are unmapped again.
  const uint64_t mapped = bytes + HUGE_PAGE;
  char* memory = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return NULL;
  const uint64_t before = -(uintptr_t)memory % HUGE_PAGE;
  if (before > 0) munmap(memory, before);
  munmap(memory + before + bytes, HUGE_PAGE - before);
  madvise(memory + before, bytes, MADV_HUGEPAGE);
  return memory + before;
}

void weft_unmap_panels(void* memory, uint64_t bytes) { munmap(memory, bytes); }
