// Tiles and their instructions in plain C, after Intel's description of each operation (Software
// Developer's Manual, volume 2): shapes, zeroing, order of sums, rounding and faults.
#include "amx.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  uint8_t bytes[AMX_ROWS][AMX_ROW_BYTES];
  int defined;
} tile;

static _Thread_local amx_shapes shapes;  // palette 0: not configured
static _Thread_local tile tiles[AMX_TILES];
static _Thread_local jmp_buf* catcher;
static _Thread_local const char* caught;

static _Noreturn void fault(const char* what) {
  if (catcher != NULL) {
    caught = what;
    longjmp(*catcher, 1);
  }
  fprintf(stderr, "AMX fault: %s\n", what);
  abort();
}

const char* amx_catch(void (*body)(const void*), const void* argument) {
  jmp_buf here;
  caught = NULL;
  catcher = &here;
  if (setjmp(here) == 0) body(argument);
  catcher = NULL;
  return caught;
}

static void undefine(void) {
  for (int i = 0; i < AMX_TILES; i++) tiles[i].defined = 0;
}

int amx_request_permission(void) { return 0; }

void amx_configure(const amx_shapes* wanted) {
  if ((uintptr_t)wanted % 64 != 0) fault("the shapes are not aligned to 64 bytes");
  if (wanted->palette > 1) fault("there is no such palette");
  if (wanted->palette == 0) {
    amx_release();
    return;
  }
  for (int i = 0; i < 14; i++) {
    if (wanted->reserved[i] != 0) fault("a reserved byte is not zero");
  }
  if (wanted->start_row != 0) fault("kernels begin with row 0");
  for (int i = 0; i < 16; i++) {
    const int rows = wanted->rows[i], row_bytes = wanted->row_bytes[i];
    if (i >= AMX_TILES && (rows != 0 || row_bytes != 0)) fault("there are eight tiles");
    if (rows > AMX_ROWS) fault("a tile has more than 16 rows");
    if (row_bytes > AMX_ROW_BYTES) fault("a tile has rows of more than 64 bytes");
    if ((rows == 0) != (row_bytes == 0)) fault("a tile has rows without bytes, or bytes without rows");
  }
  shapes = *wanted;
  undefine();
}

void amx_release(void) {
  memset(&shapes, 0, sizeof(shapes));
  undefine();
}

static tile* shaped(int index) {
  if (shapes.palette == 0) fault("the thread has no configuration");
  if (index < 0 || index >= AMX_TILES) fault("there is no such tile");
  if (shapes.rows[index] == 0) fault("the tile has no shape");
  return &tiles[index];
}

static tile* defined(int index) {
  tile* t = shaped(index);
  if (!t->defined) fault("the tile was neither zeroed nor loaded");
  return t;
}

void amx_zero(int index) {
  tile* t = shaped(index);
  memset(t->bytes, 0, sizeof(t->bytes));
  t->defined = 1;
}

void amx_load(int index, const void* base, int64_t stride) {
  amx_zero(index);
  for (int row = 0; row < shapes.rows[index]; row++) {
    memcpy(tiles[index].bytes[row], (const uint8_t*)base + row * stride, shapes.row_bytes[index]);
  }
}

void amx_load_once(int index, const void* base, int64_t stride) { amx_load(index, base, stride); }

void amx_store(int index, void* base, int64_t stride) {
  const tile* t = defined(index);
  for (int row = 0; row < shapes.rows[index]; row++) {
    memcpy((uint8_t*)base + row * stride, t->bytes[row], shapes.row_bytes[index]);
  }
}

static void check_product(int c, int a, int b) {
  if (c == a || a == b || b == c) fault("a product takes three different tiles");
  defined(c);
  defined(a);
  defined(b);
  if (shapes.row_bytes[c] % 4 != 0 || shapes.row_bytes[a] % 4 != 0 || shapes.row_bytes[b] % 4 != 0) {
    fault("a row is no multiple of 4 bytes");
  }
  if (shapes.rows[c] != shapes.rows[a]) fault("c and a differ in their rows");
  if (shapes.row_bytes[c] != shapes.row_bytes[b]) fault("c and b differ in their columns");
  if (shapes.row_bytes[a] / 4 != shapes.rows[b]) fault("columns of a and rows of b differ");
}

// What is subnormal counts as zero, read (DAZ) and written (FTZ).
static float flush(float a) { return fabsf(a) < FLT_MIN ? copysignf(0, a) : a; }

static float widen(const uint8_t* p) {
  const uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 24;
  float a;
  memcpy(&a, &bits, 4);
  return flush(a);
}

void amx_dot_bf16(int c, int a, int b) {
  check_product(c, a, b);
  const int depth = shapes.row_bytes[a] / 4, columns = shapes.row_bytes[c] / 4;
  float even_b[16][16], odd_b[16][16];
  for (int k = 0; k < depth; k++) {
    for (int n = 0; n < columns; n++) {
      even_b[k][n] = widen(&tiles[b].bytes[k][4 * n]);
      odd_b[k][n] = widen(&tiles[b].bytes[k][4 * n + 2]);
    }
  }
  for (int m = 0; m < shapes.rows[c]; m++) {
    float even[16] = {0}, odd[16] = {0}, sums[16];
    for (int k = 0; k < depth; k++) {
      const float even_a = widen(&tiles[a].bytes[m][4 * k]);
      const float odd_a = widen(&tiles[a].bytes[m][4 * k + 2]);
      for (int n = 0; n < columns; n++) {
        even[n] = flush(fmaf(even_a, even_b[k][n], even[n]));
        odd[n] = flush(fmaf(odd_a, odd_b[k][n], odd[n]));
      }
    }
    memcpy(sums, tiles[c].bytes[m], sizeof(sums));
    for (int n = 0; n < columns; n++) {
      sums[n] = flush(flush(sums[n]) + flush(even[n] + odd[n]));
    }
    memcpy(tiles[c].bytes[m], sums, (size_t)columns * 4);
  }
}

typedef int32_t (*byte_product)(uint8_t a, uint8_t b);

static int32_t s8s8(uint8_t a, uint8_t b) { return (int8_t)a * (int8_t)b; }
static int32_t s8u8(uint8_t a, uint8_t b) { return (int8_t)a * b; }
static int32_t u8s8(uint8_t a, uint8_t b) { return a * (int8_t)b; }

static inline __attribute__((always_inline)) void dot_bytes(int c, int a, int b,
                                                            const byte_product product) {
  check_product(c, a, b);
  const int depth = shapes.row_bytes[a] / 4, columns = shapes.row_bytes[c] / 4;
  for (int m = 0; m < shapes.rows[c]; m++) {
    uint32_t sums[16];
    memcpy(sums, tiles[c].bytes[m], sizeof(sums));
    for (int k = 0; k < depth; k++) {
      for (int n = 0; n < columns; n++) {
        for (int i = 0; i < 4; i++) {
          sums[n] += (uint32_t)product(tiles[a].bytes[m][4 * k + i], tiles[b].bytes[k][4 * n + i]);
        }
      }
    }
    memcpy(tiles[c].bytes[m], sums, (size_t)columns * 4);
  }
}

void amx_dot_s8s8(int c, int a, int b) { dot_bytes(c, a, b, s8s8); }
void amx_dot_s8u8(int c, int a, int b) { dot_bytes(c, a, b, s8u8); }
void amx_dot_u8s8(int c, int a, int b) { dot_bytes(c, a, b, u8s8); }
