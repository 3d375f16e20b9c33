// The allocator. All instances share it with their memory: a list of free blocks in order of address,
// neighbours joined, behind a lock. Weights and buffers are few and live long, so first fit will do.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, PAGE = 65536 };

// Leads every block, free or not, in a line of its own; what is handed out follows it.
typedef struct block {
  uint32_t bytes;      // of the whole block, a multiple of LINE
  struct block* next;  // of a free one
  uint8_t padding[LINE - 8];
} block;

static block* free_blocks;
static int lock;

static void acquire(void) {
  int expected = 0;
  while (!__atomic_compare_exchange_n(&lock, &expected, 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
    __builtin_wasm_memory_atomic_wait32(&lock, 1, 1000000);
    expected = 0;
  }
}

static void release(void) {
  __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
  __builtin_wasm_memory_atomic_notify(&lock, 1);
}

static uint32_t end_of(const block* b) { return (uint32_t)(uintptr_t)b + b->bytes; }

// Puts a block back into the list and joins it with those that touch it.
static void insert(block* b) {
  block** link = &free_blocks;
  block* before = NULL;
  while (*link != NULL && *link < b) {
    before = *link;
    link = &before->next;
  }
  b->next = *link;
  *link = b;
  if (b->next != NULL && end_of(b) == (uint32_t)(uintptr_t)b->next) {
    b->bytes += b->next->bytes;
    b->next = b->next->next;
  }
  if (before != NULL && end_of(before) == (uint32_t)(uintptr_t)b) {
    before->bytes += b->bytes;
    before->next = b->next;
  }
}

// Takes more of the memory, which may lie behind stacks that others took meanwhile.
static int grow(uint32_t bytes) {
  const uint64_t pages = ((uint64_t)bytes + PAGE - 1) / PAGE;
  const uintptr_t first = __builtin_wasm_memory_grow(0, (size_t)pages);
  if (first == (uintptr_t)-1) return 0;
  // The last line of 4 GiB stays unused, so that every end is a number of 32 bits.
  const uint64_t end = (uint64_t)(first + pages) * PAGE;
  block* b = (block*)(first * PAGE);
  b->bytes = (uint32_t)((end > UINT32_MAX ? end - LINE : end) - (uint64_t)first * PAGE);
  insert(b);
  return 1;
}

// Where memory of this alignment begins in a block: behind its head.
static uint64_t start_in(const block* b, uint32_t alignment) {
  return ((uint64_t)(uintptr_t)b + LINE + alignment - 1) / alignment * alignment;
}

static void* take(uint32_t bytes, uint32_t alignment) {
  for (block** link = &free_blocks; *link != NULL; link = &(*link)->next) {
    block* b = *link;
    const uint64_t start = start_in(b, alignment);
    if (start + bytes > end_of(b)) continue;
    *link = b->next;
    block* head = (block*)(uintptr_t)(start - LINE);
    const uint32_t end = end_of(b);
    const uint32_t gap = (uint32_t)((uintptr_t)head - (uintptr_t)b);
    const uint32_t rest = end - (uint32_t)(start + bytes);
    head->bytes = LINE + bytes;
    if (rest > 0) {
      block* after = (block*)(uintptr_t)(start + bytes);
      after->bytes = rest;
      insert(after);
    }
    if (gap > 0) {
      b->bytes = gap;
      insert(b);
    }
    return (void*)(uintptr_t)start;
  }
  return NULL;
}

void* aligned_alloc(size_t alignment, size_t bytes) {
  if (alignment < LINE) alignment = LINE;
  const uint64_t rounded = bytes == 0 ? LINE : ((uint64_t)bytes + LINE - 1) / LINE * LINE;
  const uint64_t most = rounded + LINE + alignment;
  if (most > UINT32_MAX) return NULL;
  acquire();
  void* memory = take((uint32_t)rounded, (uint32_t)alignment);
  if (memory == NULL && grow((uint32_t)most)) memory = take((uint32_t)rounded, (uint32_t)alignment);
  release();
  return memory;
}

void* calloc(size_t count, size_t bytes) {
  const uint64_t all = (uint64_t)count * bytes;
  if (all > UINT32_MAX) return NULL;
  void* memory = aligned_alloc(LINE, (size_t)all);
  if (memory != NULL) memset(memory, 0, (size_t)all);
  return memory;
}

void free(void* memory) {
  if (memory == NULL) return;
  acquire();
  insert((block*)((char*)memory - LINE));
  release();
}

int memcmp(const void* a, const void* b, size_t bytes) {
  const uint8_t *x = a, *y = b;
  for (size_t i = 0; i < bytes; i++) {
    if (x[i] != y[i]) return x[i] - y[i];
  }
  return 0;
}
