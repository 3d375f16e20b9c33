// Memory for packed weights: native/cpu/panel_memory.c where there are no pages.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void* weft_map_panels(uint64_t bytes) {
  if (bytes > UINT32_MAX) return NULL;
  void* memory = aligned_alloc(4096, (size_t)bytes);
  if (memory != NULL) memset(memory, 0, (size_t)bytes);
  return memory;
}

void weft_unmap_panels(void* memory, uint64_t bytes) {
  (void)bytes;
  free(memory);
}
