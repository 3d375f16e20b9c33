// What the attention kernels share: their arguments, where the rows of a sequence lie, and which
// keys a query sees. The cache is [blocks, kv heads, 16, head size] for keys and for values. What
// the host does not know (lengths, tables) is clamped to memory that is there: a wrong table gives
// wrong results, never a fault.
#ifndef WEFT_ATTENTION_TASK_CUH
#define WEFT_ATTENTION_TASK_CUH

#include "numbers.cuh"

namespace weft_attention {

constexpr int kBlockTokens = 16;  // of the KV cache
constexpr float kLog2E = 1.4426950408889634f;

template <class T>
struct Arguments {
  T* out;
  int out_stride;
  const T* queries;
  int query_stride;
  const T* keys;
  const T* values;
  int num_blocks;
  const int* query_starts;
  const int* context_starts;
  const int* table_rows;
  const int* block_tables;
  int num_tables;
  int max_blocks;
  int table_stride;
  int sequences;
  const int* kv_head_of_head;
  int num_heads;
  int num_kv_heads;
  float scale;
  int sliding_window;
};

// The parameters of every attention kernel begin with these, in the order of Arguments.
#define WEFT_ATTENTION_PARAMETERS(T)                                                              \
  T *out, int out_stride, const T *queries, int query_stride, const T *keys, const T *values,     \
      int num_blocks, const int *query_starts, const int *context_starts, const int *table_rows,  \
      const int *block_tables, int num_tables, int max_blocks, int table_stride, int sequences,   \
      const int *kv_head_of_head, int num_heads, int num_kv_heads, float scale, int sliding_window

#define WEFT_ATTENTION_ARGUMENTS(T)                                                              \
  weft_attention::Arguments<T> {                                                                 \
    out, out_stride, queries, query_stride, keys, values, num_blocks, query_starts,              \
        context_starts, table_rows, block_tables, num_tables, max_blocks, table_stride,          \
        sequences, kv_head_of_head, num_heads, num_kv_heads, scale, sliding_window               \
  }

__device__ __forceinline__ int clamp_index(int index, int count) {
  return min(max(index, 0), count - 1);
}

// Where a sequence's block table begins; the host checks that the tables have less than 2^31
// entries.
template <class T>
__device__ __forceinline__ int table_start(const Arguments<T>& a, int sequence) {
  return clamp_index(a.table_rows[sequence], a.num_tables) * a.table_stride;
}

// First element of block `block` of one KV head, in keys or values.
__device__ __forceinline__ long long block_offset(int block, int num_kv_heads, int kv_head,
                                                  int head_size) {
  return (static_cast<long long>(block) * num_kv_heads + kv_head) * (kBlockTokens * head_size);
}

// First key that the query at `position` sees.
__device__ __forceinline__ int first_visible(int position, int sliding_window) {
  return sliding_window > 0 ? max(0, position + 1 - sliding_window) : 0;
}

// One query token and the keys [first, end) that it sees.
struct RowTask {
  int token;
  int first;
  int end;  // 0 when there is nothing to do
  const int* table;
};

// Row `row` of the grid. With `single_only`, rows are sequences, and those with another number of
// tokens than 1 are left out; otherwise rows are tokens.
template <class T>
__device__ __forceinline__ RowTask row_task(const Arguments<T>& a, int row, bool single_only) {
  // All loads start at once: mostly, row i is sequence i.
  const int sequence = min(row, a.sequences - 1);
  int start = a.query_starts[sequence];
  int stop = a.query_starts[sequence + 1];
  int context = a.context_starts[sequence];
  int table = table_start(a, sequence);
  RowTask task = {single_only ? start : row, 0, 0, nullptr};
  if (single_only) {
    if (stop - start != 1) return task;
  } else if (row < start || row >= stop) {
    int low = 0;
    int high = a.sequences;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (a.query_starts[middle] <= row) {
        low = middle;
      } else {
        high = middle;
      }
    }
    start = a.query_starts[low];
    stop = a.query_starts[low + 1];
    if (row < start || row >= stop) return task;
    context = a.context_starts[low];
    table = table_start(a, low);
  }
  const int position = context + task.token - start;
  task.first = first_visible(position, a.sliding_window);
  task.end = min(position + 1, a.max_blocks * kBlockTokens);
  task.table = a.block_tables + table;
  if (task.first >= task.end) task.end = 0;
  return task;
}

// The cache blocks [begin, end) that one of `splits` parts of a row reads, and how many parts have
// any. Short rows have fewer parts, so that each has `least` blocks.
struct SplitRange {
  int begin;
  int end;
  int active;
};

__device__ __forceinline__ SplitRange split_range(const RowTask& task, int split, int splits,
                                                  int least) {
  const int first = task.first / kBlockTokens;
  const int last = (task.end + kBlockTokens - 1) / kBlockTokens;
  const int each = max((last - first + splits - 1) / splits, least);
  const int begin = first + split * each;
  return {begin, min(begin + each, last), (last - first + each - 1) / each};
}

}  // namespace weft_attention

#endif  // WEFT_ATTENTION_TASK_CUH
