// A look at the processor before its tiles are trusted: shapes, strides, the order of the operands and
// the signs of bytes are all easily mistaken, here or by an emulator of the processor.
#include "amx_check.h"

#include "amx.h"

#ifdef WEFT_AMX

// Rows of A are apart and fewer than a tile has, and K is shorter than a row.
enum { M = 5, PAIRS = 7, QUADS = 7, N = AMX_ROWS, STRIDE = 96 };
enum { C_TILE = 1, A_TILE = 4, B_TILE = 6 };

static int a_value(int m, int k) { return (m * 7 + k * 3) % 11 - 5; }
static int b_value(int k, int n) { return (k * 5 + n * 9) % 13; }

static uint16_t bf16(int value) {
  const union {
    float number;
    uint32_t bits;
  } wide = {.number = (float)value};
  return (uint16_t)(wide.bits >> 16);
}

static int expected(int m, int n, int size) {
  int sum = 100 * m + n;
  for (int k = 0; k < size; k++) sum += a_value(m, k) * b_value(k, n);
  return sum;
}

static void configure(int groups) {
  amx_shapes shapes = {0};
  amx_set_shape(&shapes, C_TILE, M, AMX_ROW_BYTES);
  amx_set_shape(&shapes, A_TILE, M, groups * 4);
  amx_set_shape(&shapes, B_TILE, groups, AMX_ROW_BYTES);
  amx_configure(&shapes);
}

static int bf16_is_right(void) {
  uint16_t a[M][STRIDE / 2], b[PAIRS][N][2];
  float c[M][N];
  for (int m = 0; m < M; m++) {
    for (int k = 0; k < 2 * PAIRS; k++) a[m][k] = bf16(a_value(m, k));
    for (int n = 0; n < N; n++) c[m][n] = (float)(100 * m + n);
  }
  for (int k = 0; k < 2 * PAIRS; k++) {
    for (int n = 0; n < N; n++) b[k / 2][n][k % 2] = bf16(b_value(k, n));
  }
  configure(PAIRS);
  amx_load(C_TILE, c, sizeof(c[0]));
  amx_load(A_TILE, a, STRIDE);
  amx_load_once(B_TILE, b, AMX_ROW_BYTES);
  amx_dot_bf16(C_TILE, A_TILE, B_TILE);
  amx_store(C_TILE, c, sizeof(c[0]));
  amx_release();
  for (int m = 0; m < M; m++) {
    for (int n = 0; n < N; n++) {
      if (c[m][n] != (float)expected(m, n, 2 * PAIRS)) return 0;
    }
  }
  return 1;
}

// `offset` makes bytes of b that only unsigned ones can hold.
static int bytes_are_right(int offset) {
  int8_t a[M][STRIDE];
  uint8_t b[QUADS][N][4];
  int32_t c[M][N];
  for (int m = 0; m < M; m++) {
    for (int k = 0; k < 4 * QUADS; k++) a[m][k] = (int8_t)a_value(m, k);
  }
  for (int k = 0; k < 4 * QUADS; k++) {
    for (int n = 0; n < N; n++) b[k / 4][n][k % 4] = (uint8_t)(b_value(k, n) + offset);
  }
  configure(QUADS);
  amx_zero(C_TILE);
  amx_load(A_TILE, a, STRIDE);
  amx_load(B_TILE, b, AMX_ROW_BYTES);
  amx_dot_s8u8(C_TILE, A_TILE, B_TILE);
  amx_store(C_TILE, c, sizeof(c[0]));
  amx_release();
  for (int m = 0; m < M; m++) {
    int sum = 0;
    for (int k = 0; k < 4 * QUADS; k++) sum += a[m][k];
    for (int n = 0; n < N; n++) {
      if (c[m][n] != expected(m, n, 4 * QUADS) - (100 * m + n) + offset * sum) return 0;
    }
  }
  return 1;
}

int weft_amx_is_right(void) { return bf16_is_right() && bytes_are_right(0) && bytes_are_right(240); }

#endif
