// Copies and comparisons of memory; the compiler has instructions for the first three.
#ifndef WEFT_WASM_STRING_H
#define WEFT_WASM_STRING_H

#include <stddef.h>

void* memcpy(void* restrict to, const void* restrict from, size_t bytes);
void* memmove(void* to, const void* from, size_t bytes);
void* memset(void* memory, int value, size_t bytes);
int memcmp(const void* a, const void* b, size_t bytes);

#endif
