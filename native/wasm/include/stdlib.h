// Memory, from the allocator of libc.c.
#ifndef WEFT_WASM_STDLIB_H
#define WEFT_WASM_STDLIB_H

#include <stddef.h>

void* aligned_alloc(size_t alignment, size_t bytes);
void* calloc(size_t count, size_t bytes);
void free(void* memory);

#endif
