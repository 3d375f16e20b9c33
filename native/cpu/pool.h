// A small pool of threads for loops over independent items.
#ifndef WEFT_POOL_H
#define WEFT_POOL_H

#include <stdint.h>

typedef struct weft_pool weft_pool;

// Works on items [begin, end). A result must not depend on where the cuts lie.
typedef void (*weft_task)(void* context, int64_t begin, int64_t end);

// A pool in which `threads` threads work, the caller's included; NULL when out of memory or
// threads.
weft_pool* weft_pool_create(int threads);
void weft_pool_destroy(weft_pool* pool);

// Runs `task` over items [0, count) in pieces of `grain` items, and returns when all are done. The
// pieces are handed out as threads become free, so that a thread that is held up delays one piece
// only. One thread at a time may call it, and a task must not.
void weft_pool_run(weft_pool* pool, weft_task task, void* context, int64_t count, int64_t grain);

// Number of threads that work.
int weft_pool_threads(const weft_pool* pool);

#endif
