// Products with weight rows as they are stored, f32, f16 or bf16, and f32 activations.
//
// Lanes run along K, so that a weight row is read where it lies, once, in order. A register tile
// holds up to WEFT_TILE outputs (rows times tokens); whichever tile computes an output, its
// additions are the same.
#include "linear.h"
#include "simd.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

// Levels of the tree over blocks: enough for 2^40 of them.
enum { MAX_LEVELS = 40 };

// Bytes that a part's weights and activations may take: together they stay in a second-level cache.
enum { WEIGHT_BYTES = 256 * 1024, ACTIVATION_BYTES = 256 * 1024 };

// Sums of block [begin, end) for num_rows x num_tokens outputs; lane t * num_rows + r is row r,
// token t. `ahead`: memory is asked for what lies ahead[r] bytes after what is read of row r; may be NULL.
ALWAYS_INLINE f32x16 block_sums(const void* const* w, const float* const* x, int64_t begin,
                                int64_t end, const int64_t* ahead, const int format,
                                const int num_rows, const int num_tokens) {
  f32x16 sums[16];
  WEFT_UNROLL
  for (int j = 0; j < num_rows * num_tokens; j++) sums[j] = f32x16_zero();
  int64_t k = begin;
  for (; k + 16 <= end; k += 16) {
    f32x16 weights[16];
    WEFT_UNROLL
    for (int r = 0; r < num_rows; r++) {
      weights[r] = f32x16_load_as(w[r], k, format);
      if (num_tokens > 1) f32x16_keep(&weights[r]);
    }
    // Once for each 64 bytes, into the second-level cache.
    if (ahead != NULL && (format == WEFT_F32 || (k - begin) % 32 == 0)) {
      WEFT_UNROLL
      for (int r = 0; r < num_rows; r++) {
        __builtin_prefetch((const char*)w[r] + k * (format == WEFT_F32 ? 4 : 2) + ahead[r], 0, 2);
      }
    }
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      f32x16 activations = f32x16_load(x[t] + k);
      f32x16_keep(&activations);
      WEFT_UNROLL
      for (int r = 0; r < num_rows; r++) {
        sums[t * num_rows + r] = f32x16_fma(weights[r], activations, sums[t * num_rows + r]);
      }
    }
  }
  if (k < end) {
    const int n = (int)(end - k);
    f32x16 weights[16];
    WEFT_UNROLL
    for (int r = 0; r < num_rows; r++) weights[r] = f32x16_load_as_n(w[r], k, n, format);
    WEFT_UNROLL
    for (int t = 0; t < num_tokens; t++) {
      const f32x16 activations = f32x16_load_n(x[t] + k, n);
      WEFT_UNROLL
      for (int r = 0; r < num_rows; r++) {
        sums[t * num_rows + r] = f32x16_fma(weights[r], activations, sums[t * num_rows + r]);
      }
    }
  }
  return f32x16_sums(sums, num_rows * num_tokens);
}

// Adds the blocks by the tree: like a binary counter, level l holds the sum of 2^l neighbours.
ALWAYS_INLINE f32x16 tile_sums(const void* const* w, const float* const* x, int64_t in_features,
                               int64_t block_size, const int64_t* ahead, const int format,
                               const int num_rows, const int num_tokens) {
  if (in_features <= block_size) {
    return block_sums(w, x, 0, in_features, ahead, format, num_rows, num_tokens);
  }
  f32x16 levels[MAX_LEVELS];
  int64_t count = 0;
  for (int64_t begin = 0; begin < in_features; begin += block_size, count++) {
    const int64_t end = in_features - begin < block_size ? in_features : begin + block_size;
    f32x16 sum = block_sums(w, x, begin, end, ahead, format, num_rows, num_tokens);
    int level = 0;
    for (; count >> level & 1; level++) sum = f32x16_add(levels[level], sum);
    levels[level] = sum;
  }
  // The odd ones are carried up.
  int level = __builtin_ctzll((uint64_t)count);
  f32x16 sum = levels[level];
  for (level++; count >> level; level++) {
    if (count >> level & 1) sum = f32x16_add(levels[level], sum);
  }
  return sum;
}

// Where one segment's rows go: its row 0 is output `first`.
typedef struct {
  const weft_segment* segment;
  int64_t first;
} placement;

ALWAYS_INLINE void store_sums(float* out, const float* sums, const float* bias, const int64_t n) {
  for (int64_t r = 0; r < n; r++) out[r] = bias == NULL ? sums[r] : sums[r] + bias[r];
}

// A tile of tokens: `tokens` of them from `first` on, tile `index` of `count`.
typedef struct {
  int64_t first;
  int64_t tokens;
  int64_t index;
  int64_t count;
} token_tile;

// Outputs [row_begin, row_end) of one segment for one tile of tokens.
ALWAYS_INLINE void tile_column(const weft_linear_job* job, placement place, int64_t row_begin,
                               int64_t row_end, token_tile tile, const int format,
                               const int num_rows, const int num_tokens) {
  const int64_t in_features = job->weight->in_features;
  const int64_t block_size =
      job->weight->block_size > 0 ? job->weight->block_size : in_features;
  const int64_t row_bytes = place.segment->stride * (format == WEFT_F32 ? 4 : 2);
  const float* x[16];
  // Past the end the last token or row is computed again, and not stored.
  for (int t = 0; t < num_tokens; t++) {
    x[t] = weft_linear_source(job, tile.first + (t < tile.tokens ? t : tile.tokens - 1));
  }
  // Memory is asked for the rows that come next, as short rows end before a prefetch along the row would
  // have come in time; for each of them while another tile of tokens is computed, so that memory works
  // all the time. A row whose turn it is not is asked for where it is.
  int64_t ahead[16];
  int fetches = 0;
  for (int r = 0; r < num_rows; r++) {
    const int turn = r * tile.count / num_rows == tile.index;
    ahead[r] = turn ? num_rows * row_bytes : 0;
    fetches |= turn;
  }
  for (int64_t row = row_begin; row < row_end; row += num_rows) {
    const int64_t rows = row_end - row < num_rows ? row_end - row : num_rows;
    const void* w[16];
    for (int r = 0; r < num_rows; r++) {
      w[r] = (const char*)place.segment->data + (row + (r < rows ? r : rows - 1)) * row_bytes;
    }
    float sums[16];
    f32x16_store(sums, tile_sums(w, x, in_features, block_size, fetches ? ahead : NULL, format,
                                 num_rows, num_tokens));
    const int64_t column = place.first + row;
    const float* bias = job->bias == NULL ? NULL : job->bias + column;
    for (int64_t t = 0; t < tile.tokens; t++) {
      float* out = job->out + (tile.first + t) * job->out_stride + column;
      if (rows == num_rows) {
        store_sums(out, sums + t * num_rows, bias, num_rows);
      } else {
        store_sums(out, sums + t * num_rows, bias, rows);
      }
    }
  }
}

// Rows in tiles that stay in the first-level cache while the tokens pass by.
ALWAYS_INLINE void segment_part(const weft_linear_job* job, placement place, int64_t row_begin,
                                int64_t row_end, int64_t token_begin, int64_t token_end,
                                const int format) {
  // Tall tiles for one or two tokens, which are bound by memory: as many rows as are fetched at
  // once with the best bandwidth. Square ones for more, where the loads of a tile count.
  const int square = WEFT_TILE == 16 ? 4 : 2;
  token_tile tile = {token_begin, token_end - token_begin, 0, 1};
  if (tile.tokens == 1) {
    tile_column(job, place, row_begin, row_end, tile, format, WEFT_TILE / 2, 1);
    return;
  }
  if (tile.tokens == 2) {
    tile_column(job, place, row_begin, row_end, tile, format, WEFT_TILE / 2, 2);
    return;
  }
  tile.count = (tile.tokens + square - 1) / square;
  for (int64_t row = row_begin; row < row_end; row += square) {
    const int64_t end = row_end - row < square ? row_end : row + square;
    for (tile.index = 0; tile.index < tile.count; tile.index++) {
      tile.first = token_begin + tile.index * square;
      tile.tokens = token_end - tile.first < square ? token_end - tile.first : square;
      tile_column(job, place, row, end, tile, format, square, square);
    }
  }
}

void weft_rows_product(const weft_linear_job* job, weft_linear_range range) {
  int64_t first = 0;
  for (int64_t s = 0; s < job->weight->num_segments && first < range.output_end; s++) {
    const weft_segment* segment = &job->weight->segments[s];
    const int64_t begin = range.output_begin > first ? range.output_begin - first : 0;
    const int64_t left = range.output_end - first;
    const int64_t end = left < segment->rows ? left : segment->rows;
    if (begin < end) {
      const placement place = {segment, first};
      switch (segment->format) {
        case WEFT_F16:
          segment_part(job, place, begin, end, range.token_begin, range.token_end, WEFT_F16);
          break;
        case WEFT_BF16:
          segment_part(job, place, begin, end, range.token_begin, range.token_end, WEFT_BF16);
          break;
        default:
          segment_part(job, place, begin, end, range.token_begin, range.token_end, WEFT_F32);
      }
    }
    first += segment->rows;
  }
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

weft_linear_chunk weft_rows_chunk(const weft_linear_job* job, int64_t tokens, int threads) {
  const weft_weight* weight = job->weight;
  const int64_t row_bytes = (weight->in_features + 1) * 4;
  // Several pieces a thread, so that one that is held up does not hold up all.
  const int64_t share = weight->out_features / (threads * 4);
  const int64_t fitting = WEIGHT_BYTES / row_bytes;
  const int64_t outputs = clamp(tokens == 1 || share < fitting ? share : fitting, 16, 512);
  return (weft_linear_chunk){
      .outputs = (outputs + 15) / 16 * 16,
      .tokens = clamp(ACTIVATION_BYTES / row_bytes, 16, 256) / 4 * 4,
  };
}
