// What the attention kernels of all types share: where a partition's blocks lie, and sizes of
// tiles.
#ifndef WEFT_ATTENTION_BLOCKS_H
#define WEFT_ATTENTION_BLOCKS_H

#include "attention_partition.h"
#include "simd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Blocks between the keys that are used and those that are asked for: blocks lie apart, where
// hardware does not look ahead.
enum { BLOCKS_AHEAD = 8 };

// With more queries, which take their time, asking ahead is work for nothing.
enum { FETCH_ROWS = 8 };

// Queries that share each load, and sums that are under way together: as many as registers hold,
// unless a type has its own.
#if !defined(GROUP_ROWS) && defined(__AVX512F__)
#define GROUP_ROWS 8
#define SCORE_BLOCKS(rows) ((rows) > 4 ? 2 : 4)
#define VALUE_VECTORS(rows) ((rows) > 4 ? 2 : 4)
#elif !defined(GROUP_ROWS)
#define GROUP_ROWS 4
#define SCORE_BLOCKS(rows) 1
#define VALUE_VECTORS(rows) 1
#endif
#ifdef SCORE_BLOCKS
enum { MOST_SCORE_BLOCKS = SCORE_BLOCKS(1), MOST_VALUE_VECTORS = VALUE_VECTORS(1) };
#endif

// The blocks of a partition that the queries of a group see: [first, last).
typedef struct {
  const char* keys[PARTITION / KV_BLOCK];
  const char* values[PARTITION / KV_BLOCK];
  int first;
  int last;
  int head_dim;
} partition_blocks;

// The keys of a partition that the queries of a group see: one or another sees [lowest, highest),
// all that see any see [common_begin, common_end).
typedef struct {
  int lowest;
  int highest;
  int common_begin;
  int common_end;
} seen_keys;

static inline int min_int(int a, int b) { return a < b ? a : b; }
static inline int max_int(int a, int b) { return a > b ? a : b; }

// Asks for the line at `offset` bytes of the keys of a later block, and of the values of this one.
ALWAYS_INLINE void fetch_line(const partition_blocks* p, int block, int ahead, int64_t offset) {
  __builtin_prefetch(p->keys[ahead] + offset, 0, 2);
  __builtin_prefetch(p->values[block] + offset, 0, 2);
}

#endif
